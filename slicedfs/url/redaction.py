"""What people may see of a URL: in messages, logs, reprs, attrs."""

import re
from urllib.parse import unquote

from slicedfs.url.parts import ABSOLUTE, ALIASES, HTTP, PATH_ONLY, PLAIN_URL, cut, elements, is_data

_SAFE_KEYS = frozenset({"versionid", "generation"})  # they name an object's version; other values may be secrets
_SAFE_VALUE = re.compile(r"[A-Za-z0-9._-]+")
_KEY = re.compile(r"[\w.~%\[\]-]{1,64}")
_NO_PORT = re.compile(r"\A(?!\[|arn:)[^:]*:(?![0-9]*\Z)")  # ARNs of access points are no secret
_SHOWN_MAX = 2000  # characters

_URL_IN_TEXT = re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]+://[^\s\"<>]+")
_QUERY_IN_TEXT = re.compile(r"([?&;])([\w.~%-]+)=([^&;\s'\"<>]+)")
_USERINFO_IN_TEXT = re.compile(r"[^\s/:@'\"(]+:[^\s/@'\"]+@(?=[\w\[])")
_CLOSING = re.compile(r"[),;:.\]}]*")


def redact(url: object) -> str:
    """Give `url` for people: no userinfo, query values or fragment; control characters escaped. Never raises.

    Values of versionId and generation stay. http keeps its percent escapes, other schemes are shown decoded, so that
    users recognise their key. Elements of a chain are treated one by one. More than 2000 characters are cut.
    """
    if not isinstance(url, str):
        return redact_text(repr(url))
    if len(url) <= _SHOWN_MAX and PLAIN_URL.fullmatch(url):
        return url
    shown = "::".join(_redact_element(element) for element in elements(url))
    return _printable(shown if len(shown) <= _SHOWN_MAX else f"{shown[:_SHOWN_MAX]}…", keep="")


def redact_text(text: object) -> str:
    """Give `text`, as the message of a foreign exception, with every URL in it redacted. Never raises.

    Also hides values of ``?key=value`` and ``user:password@`` outside URLs, and escapes control characters other
    than newline and tab.
    """
    shown = _URL_IN_TEXT.sub(_redact_match, text if isinstance(text, str) else repr(text))
    shown = _QUERY_IN_TEXT.sub(lambda match: f"{match[1]}{match[2]}={_value(match[2], match[3])}", shown)
    return _printable(_USERINFO_IN_TEXT.sub("", shown), keep="\n\t")


def _printable(text: str, keep: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in text)


def _redact_match(match: re.Match[str]) -> str:
    url, start = match[0], match.start()
    if "'" not in url or match.string[start - 1 : start] != "'":
        return redact(url)
    url, _, tail = url.rpartition("'")  # quoted, as in a repr: the last quote ends it
    return f"{redact(url)}'{tail if _CLOSING.fullmatch(tail) else ''}"


def _redact_element(text: str) -> str:
    if is_data(text):
        return f"{text[:5]}…"
    match = ABSOLUTE.match(text)
    if match is None and "://" in text:
        return redact_text(text)
    raw = match[1].lower() if match else ""
    lead = match[0] if match else "//" if text.startswith("//") else ""
    body, rest = cut(text[len(lead) :])
    if raw and raw not in HTTP:
        body = unquote(body, errors="replace")
        if raw not in {"file", "local"}:  # an encoded "?" may start a query that the user typed
            body, mark, query = body.partition("?")
            rest = f"{mark}{query}" if mark else rest
    return lead + _without_userinfo(body, raw, has_lead=bool(lead)) + _without_values(rest.partition("#")[0])


def _without_userinfo(body: str, raw: str, *, has_lead: bool) -> str:
    authority, slash, path = body.partition("/")
    user, at, server = authority.rpartition("@")
    if at:  # in a file name, and before an Azure account, "@" need not follow a user
        may_be_name = raw in PATH_ONLY or ALIASES.get(raw, raw) == "abfs" or not has_lead
        return body if may_be_name and ":" not in user else server + slash + path
    if not has_lead or raw in PATH_ONLY or not _NO_PORT.search(authority):
        return body
    # Neither host nor host:port: the start of a secret with "/", "?" or "#" in it, as "key:se/cret@bucket".
    return path.rpartition("@")[2] if "@" in path else f"{authority.partition(':')[0]}:…{slash}{path}"


def _without_values(query: str) -> str:
    return f"?{'&'.join(map(_without_value, re.split('[&;]', query[1:])))}" if query else ""


def _without_value(item: str) -> str:
    key, _, value = item.partition("=")
    if value.strip("=") and _KEY.fullmatch(key):
        return f"{key}={_value(key, value)}"
    return "…" if item else ""  # a bare token, perhaps with the "=" of base64 behind it


def _value(key: str, value: str) -> str:
    return value if key.lower() in _SAFE_KEYS and _SAFE_VALUE.fullmatch(value) else "…"
