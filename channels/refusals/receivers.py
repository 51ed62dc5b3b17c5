"""Large mailbox providers and mail servers whose own words and codes mean something that the words alone do not tell.

Invariant: pure data; a rule here wins over the words that all servers use, so each is one that the provider says of itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from channels.contract import Verdict
from channels.refusals.words import Rule, pattern

_HARD, _SOFT, _OURS, _MESSAGE = Verdict.SUPPRESS, Verdict.SOFT, Verdict.OUR_FAULT, Verdict.MESSAGE


class Receiver(msgspec.Struct, frozen=True):
    """`hosts` is looked for in names of servers, the recipient's domain and the words; `rules` in folded words, in order."""

    name: str
    hosts: re.Pattern[str]
    rules: tuple[Rule, ...]


def _receiver(name: str, hosts: str, *rules: tuple[Verdict, str]) -> Receiver:
    return Receiver(name, pattern(hosts), tuple((verdict, pattern(words)) for verdict, words in rules))


RECEIVERS: Final = (
    _receiver(
        "Google", r"google(?:mail)?\.com|gmail",
        (_HARD, (r"p=nosuchuser|p=baddestination|p=disableduser|p=inactiveuser|"
        r"account that you tried to reach (?:does not exist|is (?:disabled|inactive))|able to find the recipient domain")),
        (_SOFT, r"p=(?:overquota\w*|receivingrate\w*|mailboxfull)"),
        (_OURS, r"p=(?:unsolicited\w*|blocked\w*|unauthenticated\w*|dmarc\w*|spf\w*)"),
    ),
    _receiver(
        "Microsoft", r"outlook\.com|hotmail|live\.com|msn\.com|protection\.outlook|exchangelabs|office365|\.prod\.",
        (_OURS, (r"\b5\.7\.(?:5\d\d|6\d\d|7\d\d|1[0-1]\b)|banned sending ip|part of their network|"
        r"messages from \S+ weren't sent|access denied, (?:banned|"
        r"spam|bad|traffic)|as\(\d{4}\)")),
        (_SOFT, (r"\b5\.4\.(?:1[46]|300|31[678])\b|message expired|\b5\.7\.1[23]\d\b|notauthori|"
        r"recipient not found by smtp address lookup.*temp")),
        (_HARD, (r"requested action not taken: mailbox unavailable|\b5\.4\.1\b recipient address rejected|"
        r"recipient address rejected: access denied|5\.1\.10\b|5\.4\.310|infodomainnonexistent|nonexistentdomain|"
        r"dns domain .{0,80}does not exist|5\.7\.177\b|5\.1\.(?:351|8501)")),
    ),
    _receiver(
        "Yahoo, AOL, Verizon, AT&T", r"yahoo|aol|ymail|rocketmail|verizon|att\.net|sbcglobal|bellsouth|prodigy\.net|yahoodns|"
        r"oath",
        (_OURS, (r"\[?(?:ts|tss|ph|bl|in|rl|gl)\d\d\]?\b.{0,80}(?:defer|block|not accept)|blocked (?:for|by)|err_(?:ip|bl)|"
        r"att\.net/blocks")),
        (_HARD, (r"dd (?:this|requested|not|sorry)|delivery error: dd|mailbox (?:is )?disabled \(?554\.30|554\.30|"
        r"is no longer valid|mailbox not found|(?:account|mailbox) .{0,40}(?:disabled|discontinued)|5\.1\.0 address rejected|"
        r"no such user|invalid recipient")),
    ),
    _receiver(
        "Apple", r"icloud\.com|me\.com|mac\.com|apple\.com",
        (_HARD, (r"inactive email address|unknown or illegal alias|no longer on server|user does not exist|"
        r"host/domain does not accept mail")),
        (_OURS, r"\[(?:cs|hm|hme|hmd|pr|vb)\d\d\]|local policy"),
    ),
    _receiver(
        "GMX, web.de, 1&1, IONOS", r"gmx\.|web\.de|kundenserver|1and1|ionos|perfora|schlund",
        (_OURS, (r"error-messages\?|sender address (?:is not allowed|has )|[?&]c=(?:hi|bl|rdns|spf|dmarc|rate|rly|nouser=0)\b|"
        r"invalid (?:dns )?mx|nemesis.{0,60}(?:policy|black|reject due)|reject due to policy|transaction failed")),
        (_HARD, r"mailbox unavailable|user (?:is )?unknown|invalid (?:recipient|mailbox)|user not found"),
    ),
    _receiver(
        "T-Online", r"t-online\.de|telekom|magenta\.de",
        (_OURS, r"tobr@|ask your postmaster|a problem occurred|none/bad reputation"), (_HARD,
        r"user unknown|unknown (?:user|local part)|account .{0,20}(?:closed|does not exist)"),
    ),
    _receiver("freenet", r"freenet\.de|mobilcom", (_OURS, r"sender verify|black|refused"), (_HARD,
    r"unrouteable|unknown (?:user|local)|unknown$|mailbox (?:unknown|not found)")),
    _receiver(
        "mail.ru", r"mail\.ru|bk\.ru|inbox\.ru|list\.ru|vk\.com",
        (_SOFT, r"(?:user|recipient) (?:is )?(?:over ?quota|full)|rejected by user|too many"),
        (_HARD, (r"invalid mailbox|user not found|user is terminated|account is (?:disabled|deleted)|is unavailable: (?:user|"
        r"account|mailbox)|no such user|mailbox .{0,20}inactive")),
    ),
    _receiver("Yandex", r"yandex|ya\.ru", (_SOFT, (r"policy rejection on the target address|bad address mailbox temp|overquota|"
    r"too many")), (_HARD, r"no such user|bad recipient address|user not found|domain not found|bad destination")),
    _receiver(
        "Tencent QQ", r"qq\.com|foxmail|exmail",
        (_SOFT, r"frequency limit|mailbox unavailable or access denied|mail is rejected by recipient|exceed"), (_OURS,
        r"suspected|connection denied|content denied|spf|dmarc"),
        (_HARD, (r"is a deactivated mailbox|mailbox not found|no such user|recipient .{0,30}not (?:found|exist)|"
        r"bad address syntax|non-?exist")),
    ),
    _receiver(
        "NetEase 163, 126", r"\b163\.com|126\.com|yeah\.net|netease",
        (_SOFT, r"user (?:is )?suspend|user locked|mailbox full|over ?quota|frequen|mi:|dt:|hl:"), (_OURS,
        r"\b(?:dt|mi|hl|ip|spm|rbl|sps|svr|ssl?):"),
        (_HARD, r"user not found|invalid user|no such user|user unknown|unknown user|mailbox not found"),
    ),
    _receiver(
        "Orange, La Poste, SFR", r"orange\.fr|wanadoo|laposte\.net|voila\.fr|sfr\.fr|neuf\.fr|cegetel|numericable|\b(?:ofr|"
        r"lpn|ouk|opf)\w*_\d{3}",
        (_HARD, r"(?:ofr|lpn|ouk|opf)\w*_(?:416|418|428)\b|adresse (?:e-?mail )?inconnue"),
        (_SOFT, (r"(?:ofr|lpn|ouk|opf)\w*_(?:10[4-9]|20\d|417|42\d|"
        r"514)\b")), (_OURS, r"(?:ofr|lpn|ouk|opf)\w*_\d{3}\b|abus detecte|gu_eib"),
        (_HARD, r"adresse d au moins un destinataire invalide|invalid recipient|user unknown|unknown user|mailbox not found"),
    ),
    _receiver("Free.fr", r"\bfree\.fr|proxad", (_OURS, r"too many spams|too many mail"), (_HARD,
    r"user unknown|no such user|userdisabled")),
    _receiver("Comcast", r"comcast|xfinity", (_OURS, r"\b(?:bl|rl|fbl?|dt|pt)\d{6}\b|blocked"), (_HARD,
    (r"not our customer|address (?:is )?(?:invalid|rejected)|5\.1\.1 .{0,40}(?:invalid|unknown)|account not (?:found|"
    r"available)"))),
    _receiver("Cox", r"cox\.net|cloudfilter", (_OURS, r"\b(?:cx(?:bl|dns|sndr|smtp|thrt|mj)|cdrbl|ipbl\d+|urlbl\d+)\b"),
    (_SOFT, r"\bcx(?:cnct|mxrt)\b"), (_HARD, r"recipient rejected|user unknown|no such user")),
    _receiver("Charter, Spectrum", r"charter\.net|spectrum|rr\.com|twc\.com|roadrunner|brighthouse", (_OURS, r"aup#[io-]"),
    (_HARD, (r"no such (?:user|recipient)|unknown user|mailbox not found|address rejected|recipient .{0,20}(?:rejected|"
    r"unknown)"))),
    _receiver("BT, Virgin Media, Sky, TalkTalk", r"btinternet|bt\.com|cpcloud|virgin ?media|ntlworld|blueyonder|talktalk|"
    r"tiscali\.co\.uk|\bsky\.com", (_HARD, (r"recipient (?:address )?(?:rejected|unknown|unavailable)[^:]{0,30}$|(?:user|"
    r"account|mailbox) (?:is )?(?:unknown|closed|unavailable)|address rejected|invalid recipient"))),
    _receiver("Libero, Tiscali, Alice, Virgilio", r"libero\.it|iol\.(?:it|local)|tiscali|virgilio|alice\.it|\btim\.it|aruba",
    (_HARD, (r"utente (?:non|sconosciut)|account (?:non|disabilitato)|user unknown|unknown (?:user|recipient)|"
    r"recipient (?:unknown|rejected)[^:]{0,30}$|mailbox disabled|invalid mailbox"))),
    _receiver("Naver, Daum", r"naver\.com|hanmail|daum\.net|kakao", (_SOFT, r"5\.2\.[12] .{0,60}(?:sleep|dormant)|dormant"),
    (_HARD, r"no such user|user unknown|unknown user|recipient rejected|invalid recipient|5\.1\.1 .{0,40}(?:not|un)")),
    _receiver("Proton", r"proton(?:mail)?\.(?:ch|com|me)|pm\.me", (_HARD,
    r"address does not exist|user unknown|recipient address rejected: (?:address|invalid|mailbox)|5\.1\.1")),
    _receiver("Zoho", r"zoho", (_OURS, r"mailpolicy|unusual|5\.7\.7|ip blocked"), (_HARD,
    r"user does not exist|invalid emailid|no such user|mail rejected by destination domain|relaying issues|doesn't exist")),
    _receiver(
        "Mimecast", r"mimecast",
        (_OURS, (r"csi\.mimecast|administrative prohibition|anti-spoofing|envelope (?:blocked|rejected)|blocked senders|"
        r"rejected by header|security policies|greylist|poor reputation|host network|submitter")),
        (_HARD, r"invalid recipient|known recipient (?:address )?policy|user unknown|recipient address rejected"),
    ),
    _receiver("Proofpoint", r"pphosted|ppe-hosted|proofpoint|mailcontrol", (_OURS,
    r"ipcheck|dnsbl|\bblocked\b|local policy|sendergroup|5\.7\.0"), (_HARD,
    (r"5\.1\.0 address rejected|user unknown|invalid recipient|no such user|unknown (?:user|recipient)|"
    r"recipient (?:address )?rejected[^:]{0,30}$"))),
    _receiver("Barracuda", r"barracuda", (_OURS, r":blocked\)|barracuda reputation|rejected due to|spam|content"), (_SOFT,
    r":quota|:temp|:full"), (_HARD, (r"(?:permanent failure for one or more recipients|no such (?:user|domain)|"
    r"recipient (?:unknown|rejected)|user unknown|5\.1\.1)"))),
    _receiver("GoDaddy", r"secureserver|godaddy", (_SOFT, r"\bib(?:00\d|101|504|510|60\d)\b"), (_OURS, r"\bib\d{3}\b"),
    (_HARD, r"account does not exist|recipient not found|no such user|account disabled")),
)  # fmt: skip
"""Of them and their kin the server answers with words of its own."""


def rules_for(text: str, where: str) -> Iterator[Rule]:
    """The rules of every receiver that the words (folded, with names of hosts) or the names of servers point to."""
    looked = f"{where} {text}"
    for receiver in RECEIVERS:
        if receiver.hosts.search(looked):
            yield from receiver.rules
