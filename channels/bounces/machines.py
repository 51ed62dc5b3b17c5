"""Tells mails that a mail server wrote about a delivery from those of people, who quote, forward and answer such mails.

Invariant: what a person wrote is never a machine's: an answer or a forwarded mail is one only when its envelope or its form,
which
no mail program of a person gives it, says so.
"""

from __future__ import annotations

import re

from channels.bounces.parts import Mail

_SENDER = re.compile(
    r"mailer-?daemon|mail-?daemon|\bpostmaster|\bmaildaemon|mail ?deliver(?:y|er)|mailsystem|mail ?system|mail ?administrator|"
    r"\bmailadm|\bndr@|\bmdaemon|\bsmtpd?@|smtp_|_smtp|mail_service|"
    r"no-?reply.{0,20}(?:mailer|bounce)|\bbounces?[@+-]|\bdaemon@|microsoftexchange[0-9a-f]+@|\bmmdf\b|"
    r"\bautoresponder.{0,10}mailer|system administrator|internet mail delivery|\bmta@|systemadministrator",
    re.IGNORECASE,
)
_FAILURE = re.compile(
    r"mail delivery (?:failed|error|failure|problem|subsystem|system)|delivery (?:status|report|notification|failure|error|"
    r"has failed|failed|unsuccess|problem)|deliver(?:ed|able)? .{0,10}fail|fail\w* .{0,20}deliver|undeliver|returned (?:mail|"
    r"to sender|message)|"
    r"return(?:ed)? .{0,20}sender|failure notice|could ?n[o']t? (?:be )?(?:deliver|sent?)|cannot be delivered|"
    r"can't be delivered|not (?:be )?deliver|non.?deliver|non remis|bounce|automatically rejected|"
    r"unzustellbar|nicht zustellbar|nicht zugestellt|unzustellbarkeit|zustell\w* (?:fehl|gescheit|ist fehl|nicht)|"
    r"zustellungsfehler|fehlgeschlagen|zuruckgesandt|"
    r"non (?:distribu|delivr|délivr|remis)|échec de|echec de|avis de non|impossible de (?:remettre|distribuer)|"
    r"mancata (?:consegna|recapit)|non recapitabil|impossibile (?:recapitare|consegnare)|errore di consegna|"
    r"no se (?:pudo|puede|ha podido) entregar|no entregad|imposible entregar|devuelto|error de entrega|"
    r"notificaci[oó]n de (?:estado|error)|não (?:entregue|foi poss)|falha na entrega|devolvid|"
    r"onbestelbaar|niet (?:bezorgd|afgeleverd)|niedostarcz|nie dostarcz|zwrot|nedoručiteln|nedorucen|kunne ikke leveres|"
    r"kunde inte levereras|olevererbart|ei voitu toimittaa|teslim edilemedi|не (?:доставлен|может быть доставлен)|недоставлен|"
    r"возвращ|退信|无法投递|投递失败|无法送达|配信不能|届きません|배달|반송",
    re.IGNORECASE,
)
_ANSWER = re.compile(r"^\s*\[?(?:re|aw|antw|sv|vs|r|rif|ref|rép|odp|ynt|答复|回复|fwd?|wg|tr|i|rv|doorst|enc|pd|vl|fw|"
r"转发)\s*(?:\[\d+\])?\s*[::]", re.IGNORECASE)  # fmt: skip
_REPORTS = frozenset({"delivery-status", "feedback-report"})


def from_machine(mail: Mail) -> bool:
    """Whether a server wrote it, so that a report in it is one."""
    if _report_of(mail):
        return True
    if _ANSWER.search(mail.first("subject")) and not _empty_path(mail) and not _automatic(mail):
        return False
    return _empty_path(mail) or _automatic(mail) or _daemon(mail)


def speaks_of_delivery(mail: Mail) -> bool:
    """Whether its words may be asked for what became of a mail: a mail server's, or at least under the subject of one."""
    if not from_machine(mail):
        return False
    if _report_of(mail) or "rejected" in mail.first("auto-submitted").lower():
        return True
    return _daemon(mail) or failure_in(mail.first("subject"))


def failure_in(subject: str) -> bool:
    """Whether a subject says that something was not delivered."""
    return _FAILURE.search(subject) is not None and not _ANSWER.search(subject)


def _report_of(mail: Mail) -> bool:
    reported = mail.type == "multipart/report" and mail.report_type in {*_REPORTS, ""}
    return (
        reported
        or mail.type in {"message/delivery-status", "message/feedback-report"}
        or "x-failed-recipients" in mail.headers
    )


def _empty_path(mail: Mail) -> bool:
    paths = mail.headers.get("return-path", ())
    return any(path.replace(" ", "") in {"<>", ""} for path in paths)


def _automatic(mail: Mail) -> bool:
    submitted = mail.first("auto-submitted").lower().split(";")[0].split("(")[0].strip()
    return submitted not in {"", "no"}


def _daemon(mail: Mail) -> bool:
    senders = " ".join(
        (*mail.headers.get("from", ()), *mail.headers.get("sender", ()), *mail.headers.get("return-path", ()))
    )
    return _SENDER.search(senders) is not None or mail.first("from").strip() == "<>"
