"""What servers really say when they refuse a mail, as their operators document it: for the judge to tell whom it is about.

Each line: the Status that the reporting server gave, then the words of the server that refused.
"""

PERMANENT = """
5.1.1 550 5.1.1 Adresse email inconnue OFR_430
5.1.1 550-5.1.1 The email account that you tried to reach does not exist. Please try 550-5.1.1 double-checking the recipient's email address for typos or 550-5.1.1 unnecessary spaces. For more information, go to 550 5.1.1 https://support.google.com/mail/?p=NoSuchUser a1-20020 - gsmtp
5.2.1 550 5.2.1 The email account that you tried to reach is disabled. Learn more at https://support.google.com/mail/?p=DisabledUser a1 - gsmtp
5.2.1 550-5.2.1 The email account that you tried to reach is inactive. For more information, go to https://support.google.com/mail/?p=InactiveUser
5.5.0 550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [DB5EUR01FT044.eop-EUR01.prod.protection.outlook.com]
5.4.1 550 5.4.1 Recipient address rejected: Access denied. [AM7EUR03FT012.eop-EUR03.prod.protection.outlook.com 2024-01-01T00:00:00Z 08DC]
5.1.10 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ana@example.com not found by SMTP address lookup
5.1.1 550 5.1.1 RESOLVER.ADR.RecipNotFound; not found
5.4.310 550 5.4.310 DNS domain gmial.con does not exist [Message=InfoDomainNonexistent] [LastAttemptedServerName=gmial.con]
5.0.0 554 delivery error: dd This user doesn't have a yahoo.com account (ana@yahoo.com) [0] - mta1082.mail.ne1.yahoo.com
5.0.0 554 delivery error: dd Requested mail action aborted, mailbox not found (ana@yahoo.co.uk) - mta1.mail.ir2.yahoo.com
5.0.0 552 1 Requested mail action aborted, mailbox not found
5.0.0 554 30 Sorry, your message to ana@aol.com cannot be delivered. This mailbox is disabled (554.30).
5.1.1 550 5.1.1 <ana@icloud.com>: user does not exist
5.1.6 550 5.1.6 <ana@mac.com>: recipient no longer on server
5.1.1 550 5.1.1 unknown or illegal alias: ana@icloud.com
5.1.1 550 5.1.1 <ana@me.com>: inactive email address
5.0.0 550 Requested action not taken: mailbox unavailable (host mx00.emig.gmx.net)
5.0.0 550 5.1.1 <ana@web.de>: Recipient address rejected: User unknown in relay recipient table
5.0.0 550 user unknown (mx00.t-online.de)
5.1.1 550 5.1.1 unknown <ana@freenet.de>
5.0.0 550 Message was not accepted -- invalid mailbox. Local mailbox ana@mail.ru is unavailable: user not found
5.0.0 550 Message was not accepted -- invalid mailbox. Local mailbox ana@bk.ru is unavailable: user is terminated
5.7.1 550 5.7.1 No such user!
5.1.1 550 5.1.1 Bad recipient address syntax. 1390000 (yandex)
5.0.0 550 Mailbox not found. http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000728
5.0.0 550 User not found: ana@163.com (in reply to RCPT TO command) http://mail.163.com/help/help_spam_16.htm?ip=1.2.3.4
5.1.1 550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR_416 [416]
5.7.1 550 5.7.1 <ana@sfr.fr>: Recipient address rejected: User unknown
5.1.1 550 5.1.1 <ana@free.fr>: Recipient address rejected: User unknown in virtual mailbox table
5.5.0 550 5.5.0 Adresse d au moins un destinataire invalide. Invalid recipient. LPN105_416 (in reply to RCPT TO command)
5.1.1 550 5.1.1 Not our Customer (comcast)
5.1.0 550 5.1.0 Address rejected.
5.1.1 550 5.1.1 <ana@verizon.net>: Recipient address rejected: no such user
5.1.0 550 5.1.0 <ana@cox.net> recipient rejected
5.1.1 550 5.1.1 <ana@charter.net> recipient rejected, no such recipient
5.1.1 550 RCPT TO:<ana@btinternet.com> User unknown
5.1.1 550 #5.1.0 Address rejected. (virginmedia)
5.1.1 550 5.1.1 <ana@libero.it> utente sconosciuto
5.1.1 550 5.1.1 <ana@tiscali.it> User unknown
5.1.1 550 5.1.1 No such user here 1234 - nsmtp (naver.com)
5.1.1 550 5.1.1 <ana@proton.me>: Recipient address rejected: Address does not exist
5.1.1 550 5.1.1 User does not exist - <ana@zoho.com>
5.0.0 550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550 [x.uk5]
5.1.1 550 5.1.1 User Unknown (pphosted.com)
5.0.0 550 permanent failure for one or more recipients (ana@example.com:550 5.1.1 User unknown)
5.1.1 550 5.1.1 <ana@example.com>... User unknown
5.0.0 550-Verification failed for <shop@x> 550 No Such User Here
5.0.0 550 No such person at this address
5.0.0 550 Unrouteable address
5.0.0 550 Unknown user: ana@example.com
5.0.0 all relevant MX records point to non-existent hosts
5.0.0 Unrouteable address
5.4.4 Host or domain name not found. Name service error for name=gmial.con type=AAAA: Host not found
5.4.4 Host or domain name not found. Name service error for name=nowhere.example type=A: Host not found
5.1.2 550 5.1.2 Host unknown (Name server: gmial.con: host not found)
5.1.2 Sorry, I couldn't find any host named gmial.con. (#5.1.2)
5.4.4 unable to route: no mail hosts for domain
5.1.10 556 5.1.10 Domain does not accept mail (nullMX)
5.1.10 Domain gmial.com does not accept mail (nullMX)
5.0.0 Sorry, no mailbox here by that name. vpopmail (#5.1.1)
5.0.0 This address no longer accepts mail.
5.0.0 User ana (ana@example.com) not listed in Domino Directory
5.0.0 550 ana@example.com... No such user
5.7.1 554 5.7.1 <ana@gmial.com>: Relay access denied
5.7.1 550 5.7.1 Unable to relay for ana@example.com
5.7.1 550 relay not permitted
5.0.0 553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)
5.1.1 551 5.1.1 User not local; please try <ana@new.example>
5.1.6 551 5.1.6 The address has moved permanently, no forwarding
5.2.1 550 5.2.1 Mailbox disabled, not accepting messages
5.2.1 550 5.2.1 <ana@example.com>: Recipient address rejected: User unknown
5.1.1 550 5.1.1 This account has been disabled or discontinued [#102]
5.0.0 550 Account closed
5.0.0 550 5.1.1 Empfänger unbekannt
5.0.0 550 Die Adresse ana@example.com existiert nicht
5.0.0 550 L'adresse n'existe pas
5.0.0 550 El usuario no existe
5.0.0 550 indirizzo inesistente
5.0.0 550 Nie ma takiego użytkownika
5.0.0 550 gebruiker onbekend
5.0.0 550 usuário desconhecido
5.0.0 550 пользователь не найден
5.0.0 550 用户不存在
4.4.7 550 5.1.1 <ana@example.com>: Recipient address rejected: User unknown
5.1.1
5.1.2
""".strip().splitlines()

OTHERS = """
5.1.1 550 SC-001 (COL004-MC1F1) Unfortunately, messages from 1.2.3.4 weren't sent. (hotmail.com)
5.1.1 550 Requested mail action not taken: mailbox unavailable. Sender address has null MX (mx00.emig.gmx.net)
5.1.1 550 5.0.0 Can't create output
5.0.0 Remote host said: 554 INVALID IP FOR SENDING MAIL OF DOMAIN shop.example [RCPT_TO]
5.0.0 <ana@example.net>: host mx.example.net[203.0.113.9] said: 554 No Resent-From field given
5.1.1 552 5.2.2 Over quota
5.1.1 550 5.1.1 <ana@example.com> - 203.0.113.222 has sent to too many recipients this hour. IB607
5.1.1 550 5.1.1 blacklisted
5.1.1 550 5.1.1 Blocked - see https://www.spamhaus.org/query/ip/203.0.113.1
5.1.1 554 5.7.1 Service unavailable; Client host [203.0.113.1] blocked using zen.spamhaus.org
5.1.1 550 5.1.1 mailbox full
5.1.1 550 5.1.1 <ana@example.com>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch
5.1.1 550 5.1.1 Message rejected due to content restrictions
5.1.1 550 5.1.1 Mail refused due to DMARC policy of shop.example
5.1.1 421 4.7.0 Try again later, closing connection
5.1.1 451 4.3.0 Temporary lookup failure
5.1.1 450 4.2.0 greylisted, try again in 300 seconds
5.2.2 552-5.2.2 The recipient's inbox is out of storage space and inactive. Please direct the recipient to https://support.google.com/mail/?p=OverQuotaPerm
5.2.1 550-5.2.1 The user you are trying to contact is receiving mail at a rate that 550-5.2.1 prevents additional messages from being delivered. https://support.google.com/mail/?p=ReceivingRatePerm
5.7.1 550-5.7.1 Our system has detected that this message is likely unsolicited mail. To reduce the amount of spam sent to Gmail, this message has been blocked. https://support.google.com/mail/?p=UnsolicitedMessageError
5.7.26 550-5.7.26 This mail has been blocked because the sender is unauthenticated. Gmail requires all senders to authenticate with either SPF or DKIM.
5.7.1 550 5.7.1 Unfortunately, messages from [203.0.113.1] weren't sent. Please contact your Internet service provider since part of their network is on our block list (S3140). [DB5EUR01FT044.eop-EUR01.prod.protection.outlook.com]
5.7.511 550 5.7.511 Access denied, banned sender[203.0.113.1]. To request removal from this list please forward this message to delist@microsoft.com
5.7.606 550 5.7.606 Access denied, banned sending IP [203.0.113.1]. [protection.outlook.com]
5.7.133 550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction check failed because the sender was not authenticated when sending to this group
5.2.2 554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded
5.4.316 550 5.4.316 Message expired, connection refused(Socket error code 10061)
5.4.7 550 4.4.7 QUEUE.Expired; message expired
5.0.0 554 Message not allowed - [PH01] Email not accepted for policy reasons. Please visit https://postmaster.yahooinc.com/error-codes
5.0.0 553 5.7.1 [BL21] Connections will not be accepted from 203.0.113.1, because the ip is in Spamhaus's list; see http://postmaster.yahoo.com/550-bl23.html
5.0.0 421 4.7.0 [TSS04] Messages from 203.0.113.1 temporarily deferred due to unexpected volume or user complaints
5.7.1 550 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.com/en-us/HT204137
5.2.2 552 5.2.2 <ana@icloud.com>: user is over quota
5.0.0 554-Transaction failed 554-Reject due to policy restrictions. 554 For explanation visit https://postmaster.gmx.net/en/case?c=r1001 (mx.gmx.net)
5.0.0 550-Requested action not taken: mailbox unavailable 550 For explanation visit http://postmaster.gmx.com/en/error-messages?ip=203.0.113.1&c=hi
5.0.0 554 IP=203.0.113.1 - A problem occurred. (Ask your postmaster for help or to contact tobr@rx.t-online.de to clarify.)
5.0.0 550 spam message rejected. Please visit http://help.mail.ru/notspam-support/id?c=abc or report details to abuse@corp.mail.ru.
5.0.0 554 5.7.1 Message rejected under suspicion of SPAM; https://ya.cc/1IrBc (yandex)
5.0.0 550 Mailbox unavailable or access denied. http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=20022&&no=1000726 (qq.com)
5.0.0 550 Ip frequency limited. http://service.mail.qq.com
5.0.0 554 DT:SPM 163 smtp10,DsCowAB3, please see http://mail.163.com/help/help_spam_16.htm?ip=1.2.3.4
5.0.0 550 5.2.0 Mail rejete. Mail rejected. OFR_506 [506]
5.0.0 421 mwinf5c04 ME Trop de connexions, veuillez verifier votre configuration. Too many connections, slow down. OFR_104 [104]
5.0.0 552 5.2.2 Boite du destinataire pleine. Recipient overquota. OFR_417 [417]
5.0.0 554 5.7.1 <x[203.0.113.1]>: Client host rejected: Abus detecte GU_EIB_02
5.0.0 554 too many spams from your IP (203.0.113.1), please visit http://postmaster.free.fr/
5.0.0 554 5.7.1 imta BL000001 Blocked for spam. Please see http://postmaster.comcast.net
5.0.0 554 5.1.0 cox 203.0.113.1 blocked. CXBL
5.0.0 554 5.7.1 AUP#I-1000 charter
5.0.0 550 csi.mimecast.org Poor Reputation Sender. - https://community.mimecast.com/docs/DOC-1369#550
5.0.0 550 Administrative prohibition - envelope blocked - https://community.mimecast.com/docs/DOC-1369#550
5.7.0 554 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=203.0.113.1
5.7.0 550 5.7.0 Local Policy Violation
5.0.0 554 rejected due to spam content (barracuda)
5.0.0 550 permanent failure for one or more recipients (ana@example.com:blocked) (barracudanetworks.com)
5.1.8 550 5.1.8 <shop@shop.example>: Sender address rejected: Domain not found
5.0.0 550 Sender verify failed
5.0.0 550 5.7.1 <shop@shop.example>: Sender address rejected: user unknown
5.7.1 550 5.7.1 Access denied
5.7.25 550 5.7.25 The IP address sending this message does not have a PTR record setup
5.3.4 552 5.3.4 Message size exceeds fixed limit
5.2.3 552 5.2.3 Message exceeds the maximum size for this mailbox
5.4.6 554 5.4.6 Too many hops
5.4.6 mail for example.com loops back to myself
4.4.1 connect to mx.example.com[203.0.113.9]:25: Connection timed out
5.4.4 Host or domain name not found. Name service error for name=example.com type=MX: Host not found, try again
4.4.3 DNS lookup failure, try again later
5.4.3 Malformed or unexpected name server reply
5.4.4 connect to example.com[203.0.113.9]: Connection refused
5.7.1 550 5.7.1 recipient is only accepting mail from specific email addresses
5.7.1 550 5.7.1 You are not allowed to post to this mailing list
5.2.1 550 5.2.1 This account has been temporarily suspended
5.2.1 550 5.2.1 Account suspended
5.0.0 550 too many invalid recipients
5.0.0 550 5.7.1 TLS required
5.0.0 530 5.7.0 Authentication required
5.0.0 550 rejected because of virus Eicar
5.0.0 552 Das Postfach ist voll
5.0.0 552 La casella è piena
5.0.0 552 La boîte aux lettres est pleine
5.0.0 552 El buzón está lleno
5.0.0 552 Caixa postal cheia
5.0.0 552 Skrzynka pełna
5.0.0 552 почтовый ящик переполнен
5.0.0 552 邮箱已满
5.0.0 550 Absender unbekannt
5.0.0 550 Nachricht als Spam abgelehnt
5.1.1 550 Message rejected
5.1.1 550 Rejected
5.0.0 554 Transaction failed
5.0.0 550 5.5.0 Error
5.0.0
5.2.0
5.7.1
5.1.1 550 Excessive user unknowns - blocked: too many unknown users
5.1.1 550 IP 203.0.113.1 is listed at bl.example; recipient not accepted
5.1.1 550 5.1.1 recipient mailbox has exceeded its disk space limit
5.1.1 550 5.1.1 Not enough storage space in the user's account
5.1.1 550 5.1.1 User has exceeded the allowed number of messages
5.1.1 550 5.1.1 sender rate limit exceeded
5.1.1 550 5.1.1 Domain of sender address shop@x.example does not exist
5.1.2 550 5.1.2 sender domain not found
5.1.1 554 5.1.1 message looks like spam
5.1.1 550 5.1.1 user is over the quota
5.1.1 552 5.1.1 mailbox size limit exceeded
""".strip().splitlines()
