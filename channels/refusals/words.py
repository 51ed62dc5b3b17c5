"""What servers say who refuse a mail for good, by what it is about: the words that all of them use, in a dozen languages.

Invariant: pure data about folded text (small letters, no accents, no addresses). What is about anything but the address is asked
first, so that a mailbox that is full, a filter or a limit never suppresses anybody, whatever code stands beside it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from channels.contract import Verdict

Rule = tuple[Verdict, re.Pattern[str]]


def pattern(*pieces: str) -> re.Pattern[str]:
    """One expression for the pieces, for folded text: they are written in small letters, with or without accents."""
    plain = unicodedata.normalize("NFKD", "|".join(pieces))
    return re.compile("".join(char for char in plain if not unicodedata.combining(char)))


_FULL: Final = pattern(
    r"quota", r"over (?:the |its |their )?limit", r"overlimit", r"exceed\w* (?:its |the |their |your )?(?:mailbox|storage|"
    r"disk)", r"\bfull (?:mail ?|in)box",
    r"(?:mail ?box|inbox|folder|account|user|recipient|<>|disk|drive|storage|maildir|partition)\b.{0,60}\bfull\b",
    r"insufficient (?:system |disk )?(?:storage|space|resources)", r"(?:no|enough|out of|sufficient) (?:disk |storage |"
    r"free )*space",
    r"enough storage", r"storage (?:limit|allocation|space|capacity)", r"disk full", r"space has been used",
    r"too much mail data",
    r"mailbox size", r"would exceed", r"too many messages (?:on|in) (?:the|this|your)",
    # German, French, Italian, Spanish, Portuguese, Dutch, Polish, Turkish, Swedish, Czech
    r"(?:postfach|mailbox|briefkasten|speicher)\b.{0,40}\bvoll", r"uberfull", r"ueberfull", r"kontingent", r"speicherplatz",
    r"uberschritten", r"ueberschritten", r"\bpleine?\b", r"saturee?", r"espace (?:disque|insuffisant)", r"depass",
    r"\bpien[ao]\b",
    r"spazio", r"superat", r"\bllen[oa]\b", r"espacio", r"cuota", r"excedid", r"\bchei[ao]\b", r"espaco", r"\bcota\b", r"\bvol\b",
    r"overschred", r"pe[lł]na", r"przepe[lł]n", r"przekrocz", r"brak miejsca", r"\bdolu\b", r"kotasi", r"\bfull\b.{0,20}brevl",
    r"prekroc", r"\bplna\b",
    r"переполн", r"превыш", r"квот", r"нет места", r"已满", r"已滿", r"空间不足", r"容量", r"超过", r"超出", r"満杯", r"いっぱい",
    r"超過", r"용량", r"초과", r"가득",
)  # fmt: skip
_SIZE: Final = pattern(
    r"(?:message|mail|attachment|body|content|header|letter|data)s?\b.{0,40}too (?:large|big|long)",
    r"(?:message|mail|attachment|header|data)s?\b.{0,40}\b(?:larger|bigger|exceed\w*)\b.{0,60}(?:size|limit|maximum|mb\b|"
    r"bytes|allowed)",
    r"size (?:limit|exceed|restriction|too)", r"max\w* (?:message|mail|allowed|permitted)? ?size", r"oversize", r"too large",
    r"zu gro(?:ss|ß)", r"trop (?:gros|volumineux|grand)", r"troppo grande", r"demasiado grande", r"muito grande", r"te groot",
    r"слишком (?:больш|велик)", r"过大", r"サイズ",
)  # fmt: skip
_UNSAFE: Final = pattern(
    r"\bvirus", r"malware", r"infected", r"attachments? .{0,40}(?:not|block|forbid|type|reject|disallow)",
    r"malformed (?:message|mail|header|mime)", r"mime (?:header|content|complex|error)", r"rfc ?[258]\d?22\b", r"bare lf",
    r"(?:header|field) (?:given|missing|is)", r"(?:missing|duplicate|invalid) (?:header|field)"
)  # fmt: skip
_LATER: Final = pattern(
    r"try (?:\w+ ){0,2}again", r"again later", r"try later", r"(?:please|and) retry", r"retry (?:time|later|limit)", r"temporar",
    r"currently (?:un|not|being|over|inacc|susp)", r"not currently", r"\bdefer", r"delay", r"gr[ea]y-?list", r"in (?:the )?queue",
    r"expired", r"aborted after", r"find a gateway", r"time-?d? ?out", r"too old",
    r"connection (?:was |is |has been )?(?:refus|reset|lost|drop|clos|fail|attempt|limit|abort|rate)",
    r"connect(?:ion)? to .{0,60}(?:refused|failed|timed)", r"refused to talk", r"refused connection", r"no answer from host",
    r"no route to (?:host|\S+\[)", r"network (?:error|problem|is |unr)",
    r"(?:host|server|system|destination) (?:is )?(?:un|not )(?:reach|respond)",
    r"(?:did|does) not respond", r"(?:host|server|system|mx)\b.{0,40}(?:could not be (?:reached|contacted)|"
    r"was not reachable)", r"not be established", r"right now", r"at (?:this|the) (?:time|moment)",
    r"unknown error", r"exception", r"a problem occurred", r"(?<!disabled, )not accepting (?:any )?(?:e-?)?(?:mail|message)",
    r"establish.{0,20}connection",
    r"(?:service|server|system) (?:is )?(?:not |un)(?:available|accepting)",
    r"(?:internal|local|software|i/o|write|read|system|server|processing|protocol) (?:\w+ )?error",
    r"error in processing", r"\bbusy\b", r"overload", r"maintenance", r"loops? back", r"\bloop\b", r"looping", r"hop count",
    r"too many hops", r"servfail",
    r"\bdns\b.{0,30}(?:error|fail|timeout|timed|problem|soft|refused|server)",
    r"name server .{0,20}(?:error|fail|time|refus|reply)", r"unexpected name server", r"lookup (?:\w+ )?(?:fail|error|timeout)",
    r"(?:domain|host) name .{0,30}try again", r"configuration (?:error|problem)", r"misconfigur",
    r"out of (?:memory|resources)", r"resources? (?:temp|unav|exhaus)",
    r"verif\w* (?:in progress|is not|temp)", r"unverified address", r"could not complete", r"callout",
    r"closing (?:transmission|connection)",
    r"tls\b.{0,40}(?:fail|requir|handshake|negotiat|support|not )", r"requires? .{0,20}\btls", r"issue a starttls", r"lmtp",
    r"cannot be processed", r"can'?t create output",
    r"vorubergehend", r"voruebergehend", r"\bspater\b", r"spaeter", r"verzoger", r"zeitweise", r"plus tard", r"temporair",
    r"ulterieur", r"reessay", r"differe",
    r"temporane", r"piu tardi", r"riprov", r"mas tarde", r"temporal", r"reintent",
    r"intente (?:de nuevo|nuevamente|otra|mas)", r"mais tarde", r"tente novamente",
    r"tijdelijk", r"later opnieuw", r"tymczasow", r"pozniej", r"docasn", r"gecici", r"tillfallig", r"midlertidig", r"senare",
    r"senere",
    r"временн", r"позже", r"поздне", r"повторит", r"稍后",
    r"稍後", r"暂时", r"暫時", r"重试", r"一時", r"しばらく", r"再度", r"일시", r"잠시", r"나중",
)  # fmt: skip
_RATE: Final = pattern(
    r"too many", r"too much", r"too (?:fast|quick|frequent)", r"rate[ -]?(?:limit|control|exceed)",
    r"limit(?:s|ed)? (?:is |was |has been |have been |were )?(?:exceed|reach)",
    r"exceed\w*\b.{0,40}(?:rate|limit|number|maximum|threshold|allow)", r"threshold", r"frequency", r"throttl",
    r"per (?:hour|minute|day|connection|session)\b",
    r"this hour", r"hourly|daily", r"at a rate", r"unusual (?:rate|sending|activity)", r"ratelimit",
    r"max\w* (?:number|message|recipient|connection)",
    r"zu viele", r"trop de", r"troppi", r"troppe", r"demasiad[oa]s", r"muit[oa]s", r"te veel", r"zbyt wiele",
    r"слишком (?:мног|част)", r"频率", r"频繁", r"过多", r"限制", r"制限",
)  # fmt: skip
_LISTED: Final = pattern(
    r"(?:black|block|deny|bad|reject)[ -]?list", r"\brbl\b", r"dnsbl", r"spamhaus", r"spamcop",
    r"barracuda(?:central| reputation| networks)", r"\bsorbs\b", r"uceprotect",
    r"senderscore", r"senderbase", r"cloudmark", r"abuseat", r"surbl", r"uribl", r"invaluement", r"proofpoint\.com/dnsbl",
    r"ipcheck\.proofpoint", r"reputation",
    r"\bdmarc\b", r"\barc\b .{0,20}(?:fail|invalid|error)", r"verif\w* (?:of |the |your )*sender", r"your domain",
    r"\bdkim\b", r"\bspf\b", r"sender policy framework", r"sender ?id\b", r"domainkey", r"spoof", r"impersonat",
    r"unsolicited", r"\bbulk\b", r"\bjunk\b", r"phish",
    r"spam", r"\buce\b", r"\bube\b", r"complain", r"\babus", r"suspicious", r"fraud", r"poor (?:sender|ip)", r"\bblocked\b",
    r"\bblocking\b", r"\bbanned\b", r"block(?:ed)? (?:for|by|due)",
    r"(?:is|are|was|been) listed", r"listed (?:at|in|on|by) \S*(?:\.|rbl|list)",
    r"not (?:accepted|allowed|permitted|welcome) (?:from|here|by|for policy)",
    r"polic(?:y|ies)", r"(?:security|organi[sz]ation\w*|content|local|company) (?:rule|restriction|setting|reason)",
    r"content (?:filter|reject|denied|block|restrict|scan)",
    r"content.{0,20}(?:not |un)accept", r"administrat\w+ prohibit", r"prohibited", r"reverse (?:dns|lookup|mapping)",
    r"\brdns\b", r"\bptr\b", r"(?:find|resolve) your (?:reverse )?(?:host|ip|name|dom)",
    r"\b(?:helo|ehlo)\b", r"dynamic ip", r"unauthenticated", r"(?:not|requires?|required?|must) (?:be )?authenticat",
    r"authentication", r"auth required",
    r"sender\b.{0,60}(?:reject|refus|denied|invalid|not |unknown|verif|unverif|block|does|must|bad|forbidden|without|is )",
    r"(?:invalid|bad|bogus|unknown|unroutable|unverified|forged|forbidden) (?:envelope |return |bounce )?(?:sender|mail from|"
    r"from)\b",
    r"(?:sender|from|return|envelope)[ -](?:domain|address|path)", r"mail from .{0,60}(?:reject|refus|denied|invalid|not)",
    r"(?:mails?|messages?|connections?|access|traffic|email) from .{0,80}(?:reject|refus|denied|deny|disallow|prohibit|not )",
    r"client host", r"invalid (?:ip|helo|host ?name)", r"your (?:ip|host|server|network|mail server|isp|country)\b",
    r"(?:ip|ips|ip address)\b.{0,60}(?:refus|denied|not |reject|bad|ban)",
    r"\b(?:ip|host|network) .{0,40}not (?:allowed|permitted|authori)", r"forged", r"open (?:relay|proxy)\b", r"backscatter",
    r"null sender", r"empty (?:envelope )?sender", r"no third-party",
    r"emetteur", r"expediteur", r"expeditor", r"mittente", r"remitente", r"remetente", r"absender", r"afzender", r"nadawc",
    r"отправител", r"发件人", r"送信者", r"발신자",
    r"спам", r"черн\w+ спис", r"垃圾", r"黑名单", r"迷惑",
    r"スパム", r"스팸", r"richtlinie", r"sperrliste", r"gesperrt", r"politique",
    r"politica", r"blocage", r"bloque", r"bloccat", r"geblokkeerd", r"zablokowan", r"заблокир",
)  # fmt: skip
_CHOSEN: Final = pattern(
    r"only accept", r"not allowed to receive", r"from (?:outside|external)", r"accept\w* (?:only|mail from|messages from)",
    r"members?[ -]only", r"only (?:members|subscribers|authori|internal|allowed|approved)",
    r"(?:user|recipient|customer|owner)(?:'s)? (?:preference|rule|setting|filter|whitelist|allow|request)",
    r"by (?:the |this )?(?:recipient|user|addressee|owner|customer|member)\b(?!'s (?:mail|e-?mail)? ?(?:server|system)|"
    r" (?:domain|server|mail|e-?mail|host|system|gateway))",
    r"refused by", r"not (?:a )?(?:subscri|member|on the list|authori[sz]ed|in the list)", r"notauthori[sz]ed",
    r"closed (?:mailing )?list", r"moderat", r"permission", r"challenge", r"confirm", r"restrict",
    r"whitelist", r"allow ?list", r"safe ?list", r"\bfilter", r"suspend", r"\blocked\b", r"frozen", r"inactivity", r"archiv",
    r"\bidle\b", r"on hold", r"(?:mailbox|account|user|recipient|<>) .{0,30}(?:is )?block",
    r"grund der inaktivitat", r"suspendid", r"sospes", r"verified", r"not (?:yet )?(?:been )?activated",
)  # fmt: skip
_WHO: Final = (
    r"(?:user|recipient|mail ?box|account|address|addressee|alias|login|person|local[ -]?part|destination|inbox|rcpt|"
    r"mail(?: address| ?id)?|e-mail|username|userid|"
    r"customer|member|subscriber|<>|contact|names?)(?:s|es|\(s\)|\(es\))?"
)
_GONE: Final = (
    r"(?:(?:is|was|are|were|has|have|been|being|currently|permanently|apparently|seems?|to be|it) ){0,4}(?:"
    r"un ?known|(?:not|never|cannot|can't|couldn't|could not|wasn't|isn't|aren't|unable) (?:to )?(?:be )?(?:been )?(?:a |an |"
    r"in |the )?(?:valid\b|found|find|known|exist|recogni[sz]|present|locat|active|local\b|regist|defin|current|resolv|ours)|"
    r"(?:does|do|did) ?n[o']t (?:currently )?(?:exist|match|appear|belong|have|resolve)|doesn't (?:exist|have|match)|"
    r"don't exist|non-?existent|nonexist|no longer (?:exist|valid|avail|active|in use|in service|on |accept|with|work|here|"
    r"at |used|receiv|monitor|empl|a )|"
    r"not exist|invalid|incorrect|deactivat|disabled|closed|deleted|removed|terminat|discontin|dead|inactive|obsolete|cancel+ed|"
    r"(?:has )?moved|wrong)"
)
_UNKNOWN: Final = pattern(
    rf"(?<!\w){_WHO}[^\w<>'.!?-]{{1,6}}(?:[\w<>'-]{{1,40}}[^\w<>'.!?-]{{1,6}}){{0,5}}?{_GONE}",
    r"\b(?:un ?known|invalid|non-?exist\w+|illegal|bad|unroute?able|undeliverable|incorrect|wrong|obsolete|inactive|disabled|"
    r"closed|deactivated) (?:or \w+ )?(?:virtual |local |e-?mail |mail |to |the |destination |recipient |user |final )*"
    r"(?:user|recipient|mail ?box|account|address|alias|local[ -]?part|rcpt|destination|e-?mail|mail ?drop|login|user ?name|"
    r"domain|customer)",
    r"no (?:such|valid|known|active|matching) \w*\W?(?:user|mail ?box|mail ?drop|recipient|account|address|person|alias|"
    r"customer|member|domain|host|e-?mail|name|local|people)", r"no such (?:\w+ )?(?:here|at)",
    r"no (?:mail ?box|account|user|recipient|address|alias|one|person|forward|mail box)\b.{0,40}(?:here|name|found|match|"
    r"exist|available|avail|at this|with that|for |in |by )",
    r"nobody (?:here|by|with)", r"there is no (?:one|such|user|mail|account|person)",
    r"not (?:our|a|an) (?:\w+ ){0,2}(?:customer|user|recipient|mailbox|address|account|subscriber)", r"can't accept user",
    r"(?:listed|found|present|match\w*) in (?:\w+ ){0,5}(?:directory|address book|recipient|user|table|list|"
    r"maps?)\b(?<!not block list)", r"no .{0,60} in name directory", r"(?:e?x?recip(?:ient)?)(?:s|ient)? ?not ?found",
    r"resolver\.adr\.", r"bad ?rcpt", r"validrcptto", r"bad ?recipient",
    r"user ?unknown", r"unknown ?user", r"delivery error: dd", r"doesn't have a .{0,40}account", r"wrong or no longer valid",
    r"not email addresses", r"user missing", r"is a deactivated",
    r"address (?:is )?(?:rejected(?! ?:)|not valid|unknown)", r"does ?n[o']t exist",
    r"recipient (?:address(?:es)? )?reject\w* ?[.:]? ?(?:<> ?)?\W*(?:access denied|\(in reply to rcpt|$|\(\w+\)$|ak\d+|smtp)",
    r"recipient not (?:ok|accepted)", r"(?:destination|recipient)s? .{0,30}(?:were|was) unknown", r"no valid recipient",
    r"adress\w*\b.{0,60}(?:unbekannt|ungultig|ungueltig|existiert nicht|nicht vorhanden|falsch|nicht gefunden)",
    r"(?:empfanger|empfaenger|benutzer|teilnehmer|postfach|mailbox|nutzer|konto|account)\w*\b.{0,60}(?:unbekannt|"
    r"existiert nicht|nicht bekannt|nicht gefunden|nicht vorhanden|gibt es nicht|deaktiviert|geloscht|geschlossen|ungultig|"
    r"nicht (?:mehr )?verfugbar|nicht mehr)",
    r"(?:unbekannt|ungultig|ungueltig)e[rns]? (?:empfanger|empfaenger|benutzer|adress|mail|user)",
    r"kein(?:e[nr]?)? (?:solche[rnms]? |gultige[rn]? )?(?:postfach|empfanger|benutzer|mailbox|nutzer|teilnehmer)",
    r"existiert nicht", r"konnte nicht gefunden",
    r"inconnue?s?\b", r"n'existe (?:pas|plus)", r"inexistant", r"introuvable",
    r"(?:destinataire|adresse|boite|utilisateur|compte)\w*\b.{0,40}(?:invalide|desactive|supprime|ferme|incorrect)",
    r"sconosciut", r"inesistent", r"non esist", r"non (?:e stat\w )?trovat",
    r"(?:indirizzo|destinatario|utente|casella|account)\b.{0,40}(?:errat|non valid|chius|disattiv|disabilit|cessat)",
    r"nessun utente", r"desconocid", r"inexistente", r"no (?:se )?(?:ha )?(?:sido )?encontrad", r"no existe",
    r"(?:usuario|direccion|buzon|cuenta|destinatario)\b.{0,40}(?:no valid|incorrect|erron|no es|invalid|desactiv|eliminad)",
    r"nao exist", r"desconhecid", r"nao (?:foi )?encontrad", r"(?:usuario|endereco|caixa|conta|"
    r"destinatario)\b.{0,40}(?:invalid|incorret|desativad|nao e)", r"onbekend", r"bestaat niet", r"niet (?:gevonden|bekend)",
    r"ongeldig", r"nie istnieje", r"nieznan", r"nie (?:zosta[lł] )?znalezion", r"nie ma takiego", r"nieprawid[lł]ow",
    r"neexistuj", r"neznam", r"nenalez", r"findes ikke", r"\bukendt", r"finns (?:inte|ej)", r"\bokand", r"finnes ikke",
    r"\bukjent", r"eksisterer ikke", r"existerar inte", r"bulunamad", r"mevcut degil", r"gecersiz", r"bilinmeyen",
    r"ismeretlen", r"nem letezik", r"tuntematon", r"ei ole olemassa", r"necunoscut", r"nu exista",
    r"не ?(?:был )?наиден", r"не существу", r"несуществу", r"неизвестн", r"нет тако", r"отсутству", r"недеиствит", r"удален",
    r"отключен", r"не зарегистр", r"не знаи", r"не існу", r"不存在",
    r"找不到", r"未找到", r"无效", r"無效", r"无此", r"查無", r"没有此", r"不正确",
    r"存在しま", r"存在しな", r"見つかりま", r"宛先不明", r"不明な", r"존재하지", r"없는 ", r"없습니다", r"찾을 수",
)  # fmt: skip
_NO_DOMAIN: Final = pattern(
    r"host or domain name not found", r"(?:host|domain)(?: name)?\b(?: \S+){0,6} (?:not found|unknown|does(?:n't| not) exist|"
    r"doesn't exist|not exist|invalid|isn't valid|is not valid|not known|not reachable|does not accept|has no|"
    r"could not be found|couldn't be found|must exist)",
    r"unknown (?:host|domain|mail domain)", r"nx ?domain", r"non-?existent ?domain", r"domainnonexistent",
    r"domain not (?:exist|found)", r"no such (?:domain|host)", r"null ?mx", r"null mx", r"name or service not known",
    r"no (?:mail|valid) hosts? for", r"no (?:valid |suitable )?mx\b", r"no mail ?(?:server|exchanger)",
    r"couldn't find (?:any|a) (?:host|mail)", r"could not find (?:any|a) (?:host|mail exch)",
    r"can'?n?o?t find (?:any|a) (?:host|mail)", r"point(?:s|ing)? to non-?existent",
    r"(?:host|domain|server)s? (?:\S+ )?(?:does|do|did) ?n[o']t (?:accept|receive|handle) (?:any )?(?:e-?)?mail",
    r"does not (?:accept|receive) (?:any )?(?:e-?)?mail\b", r"unroute?able (?:mail )?(?:domain|address)",
    r"bad destination (?:host|system|mailbox)", r"mail receiving disabled",
    r"(?:domain|domaine|dominio|domein|domane|domena)\w*\b.{0,40}(?:existiert nicht|unbekannt|n'existe pas|inconnu|non esiste|"
    r"no existe|nao existe|bestaat niet|nie istnieje|onbekend)", r"域名不存在", r"домен\w* .{0,30}не (?:наид|сущ)",
    r"we don't handle mail for", r"don't (?:accept|handle) mail for",
)  # fmt: skip
_MOVED: Final = pattern(r"has (?:been )?(?:moved|replaced)", r"no longer (?:with|work|employ|at th)",
r"(?:address|e-?mail) has (?:been )?changed", r"left (?:the|this|our) (?:company|org)", r"new (?:e-?mail )?address is",
r"user (?:has )?moved")  # fmt: skip

NOT_THE_ADDRESS: Final[tuple[Rule, ...]] = (
    (Verdict.SOFT, _FULL),
    (Verdict.MESSAGE, _SIZE),
    (Verdict.SOFT, _RATE),
    (Verdict.OUR_FAULT, _LISTED),
    (Verdict.MESSAGE, _UNSAFE),
    (Verdict.SOFT, _LATER),
    (Verdict.SOFT, _CHOSEN),
)
THE_ADDRESS: Final[tuple[Rule, ...]] = tuple((Verdict.SUPPRESS, each) for each in (_UNKNOWN, _NO_DOMAIN, _MOVED))
AMBIGUOUS: Final = pattern(
    r"mail ?box (?:is |currently )?(?:unavailable|not available|unavaiable)",
    r"account (?:is )?(?:unavailable|not available)", r"recipient (?:address )?(?:denied|refused)"
)  # fmt: skip
"""They mean the address in the answer to RCPT, from servers that say no more of it."""
RELAY: Final = pattern(
    r"relay\w* (?:access )?(?:is |was |not )?(?:denied|prohibited|permitted|allowed|forbidden|disabled)", r"unable to relay",
    r"not .{0,20}relay", r"no relay", r"relay not", r"allowed rcpthosts", r"not a gateway", r"not local (?:host|domain)",
    r"as a relay", r"relaying"
)  # fmt: skip
"""The domain's own mail server does not know the domain; said by the server that we hand our mail to, it is about our login."""
VAGUE: Final = pattern(
    r"reject", r"refus", r"denied", r"declin", r"not allowed", r"not accept", r"unaccept", r"\berror", r"fail", r"forbidden",
    r"violat", r"disconnect"
)  # fmt: skip


def first_of(rules: Iterable[Rule], text: str) -> Verdict | None:
    """What the first rule that fits the folded text says."""
    return next((verdict for verdict, found in rules if found.search(text)), None)
