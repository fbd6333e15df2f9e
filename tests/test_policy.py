"""UrlPolicy: where documents may lead, from H1 to H8 of hostile references."""

import pickle
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicedfs.errors import ManifestError, UrlPolicyError
from slicedfs.policy import UrlPolicy
from slicedfs.url import join

WEB = "https://data.example.org/d/e.json"
BUCKET = "s3://bucket/d/e.json"
LOCAL = "file:///d/e.json"


def follow(source, reference, policy=None):
    """Resolve as the resolver does, and ask the policy."""
    target = join(source, reference)
    (policy or UrlPolicy()).check(target, source)
    return target


H1_LOCAL_FILES = [
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file://localhost/etc/passwd",
    "file:/etc/passwd",
    "local:///etc/passwd",
    "Local:///etc/passwd",
    "C:\\Windows\\win.ini",
    "C:/Windows/win.ini",
    "z:\\x",
    "file:///C:/x",
    "file:////server/share/x",
]
H2_PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.0.0.1.",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "0x7f.1",
    "0x7F000001",
    "0X7f.0.0.1",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0x1",
    "010.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "2852039166",
    "100.64.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "192.0.2.1",
    "localhost",
    "LOCALHOST:9000",
    "localhost.",
    "a.b.localhost",
    "ip6-localhost",
    "printer.local",
    "metadata.google.internal",
    "router.home.arpa",
    "[::1]",
    "[0:0:0:0:0:0:0:1]:80",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[2002:7f00:1::]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b::10.0.0.1]",
    "[64:ff9b:1::1]",
    "[fe80::1]",
    "[fe80::1%25eth0]",
    "[fc00::1]",
    "[fd12:3456::1]",
    "[fec0::1]",
    "[ff02::1]",
    "[2001:db8::1]",
    "user:pw@127.0.0.1",
    "data.example.org@127.0.0.1",
    "data.example.org:443@10.0.0.1",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020.0.1",
    "\u24db\u24deca\u24dbhost",
]
H5_NO_CHAINS = [  # "::" between places that contain nothing
    "x::file:///etc/passwd",
    "a/b::file:///etc/passwd",
    "https://o.example.org/x::https://o.example.org/y",
    "https::https://o.example.org/x",
    "HTTP::t.tif",
]
H5_SCHEMES = [
    "simplecache::s3://b/x",
    "filecache::https://o.example.org/x",
    "blockcache::https://o.example.org/x",
    "simplecache::file:///etc/passwd",
    "simplecache::t.tif",
    "zip://x.tif::https://o.example.org/a.zip",
    "zip://x.tif::file:///a.zip",
    "tar://x.tif::https://o.example.org/a.tar",
    "dir://x::file:///etc",
    "reference://x",
    "reference::https://o.example.org/refs.json",
    "zip://x.tif",
    "dask::https://o.example.org/x",
    "python::https://o.example.org/x",
    "memory://x",
    "data:image/png;base64,AAAA",
    "DATA:,x",
    "git://repo/x",
    "github://org:repo@main/x",
    "ssh://o.example.org/x",
    "sftp://o.example.org/x",
    "smb://o.example.org/share/x",
    "ftp://o.example.org/x",
    "hdfs://o.example.org/x",
    "hf://datasets/x",
    "unknown+plugin://x/y",
    "gopher://o.example.org/x",
]
PUBLIC = [
    "t.tif",
    "../t.tif",
    "/t.tif",
    "https://o.example.org/x",
    "http://o.example.org/x",
    "https://8.8.8.8/x",
    "https://134744072/x",  # 8.8.8.8
    "https://[2606:4700::1111]/x",
    "https://[64:ff9b::808:808]/x",
    "https://172.32.0.1/x",
    "https://mylocalhost/x",
    "https://localhost.example.org/x",
    "https://example.org@good.example.org/x",
    "https://1.2.3.4.5/x",
    "https://09.example.org/x",
    "s3://other/x",
    "s3a://other/x",
    "s3://127.0.0.1/x",  # a bucket's name, no host
    "gs://other/x",
    "gcs://other/x",
    "az://c/x",
    "abfs://c@acct.dfs.core.windows.net/x",
    "abfss://c@acct.dfs.core.windows.net/x",
]


@pytest.mark.parametrize("reference", H1_LOCAL_FILES)
@pytest.mark.parametrize("source", [WEB, BUCKET, "memory://d/e.json", "zip://m.json::file:///a.zip", "sftp://h/e.json"])
def test_no_way_from_the_network_to_local_files(source, reference):
    """H1: no spelling of a local file gets past the policy in a document that is not local."""
    with pytest.raises(
        UrlPolicyError, match=r"'file' is not allowed from there .*Pass policy=UrlPolicy\(allow_local=True\)"
    ):
        follow(source, reference)


@pytest.mark.parametrize("reference", ["\\\\server\\share\\x", "\\etc\\passwd", "~/x", "..\\..\\x", "%2e%2e%2fx"])
def test_other_spellings_of_paths_stay_on_the_host(reference):
    """H1, H4: UNC paths, backslashes, "~" and encoded parents are names on the document's own host."""
    assert follow(WEB, reference).startswith("https://data.example.org/")
    assert follow(BUCKET, reference).startswith("s3://bucket/")


@pytest.mark.parametrize("host", H2_PRIVATE_HOSTS)
@pytest.mark.parametrize("source", [WEB, BUCKET, "zip://m.json::https://data.example.org/a.zip"])
def test_no_way_to_private_hosts(source, host):
    """H2: no notation of a private host gets past the policy in a document from elsewhere."""
    with pytest.raises(UrlPolicyError, match="is a host of this machine or a private network"):
        follow(source, f"http://{host}/latest/meta-data")


@pytest.mark.parametrize("host", H2_PRIVATE_HOSTS)
def test_private_hosts_are_open_to_local_documents_and_to_themselves(host):
    """A local document, or one that came from that host on whatever port, may lead there."""
    target = f"http://{host}/x"
    assert follow(LOCAL, target)
    assert follow(f"http://{host}/d/e.json", target)


def test_another_port_and_protocol_of_the_own_host():
    """A document from a private host may name other ports of it, but no other private host."""
    assert follow("http://127.0.0.1:8000/e.json", "http://127.0.0.1:9000/x") == "http://127.0.0.1:9000/x"
    assert follow("http://[::1]:8000/e.json", "https://[0::1]/x") == "https://[0::1]/x"
    assert follow("zip://m.json::http://10.0.0.1/a.zip", "http://10.0.0.1/x") == "http://10.0.0.1/x"
    with pytest.raises(UrlPolicyError, match=r"'10\.0\.0\.2' is a host of this machine or a private network"):
        follow("http://10.0.0.1/e.json", "http://10.0.0.2/x")


@pytest.mark.parametrize("reference", PUBLIC)
@pytest.mark.parametrize("source", [WEB, BUCKET, LOCAL, "simplecache::s3://bucket/e.json"])
def test_public_places_are_open(source, reference):
    """H3: http, https, s3, gs and Azure are followed from everywhere, own references always."""
    assert follow(source, reference) == join(source, reference)


@pytest.mark.parametrize(
    "reference",
    ["http:\\\\h\\x", "https://h\\@evil/x", "http://a@b@127.0.0.1/", "http://127%2e0.0.1/", "ht\ttp://h/x", "//h\\x"],
)
def test_malformed_hosts_are_refused_before_the_policy(reference):
    """H4: what programs read in different ways never becomes a URL."""
    with pytest.raises(ManifestError, match=r"control character|backslash|no proper host"):
        follow(WEB, reference)


@pytest.mark.parametrize("target", ["http://a@b@127.0.0.1/", "https://h:x/", "https:///x", "https://h\\@evil/x"])
def test_malformed_redirects_are_refused(target):
    """H8: a target that did not come from join, as a redirect's, is refused where its host is malformed."""
    with pytest.raises(UrlPolicyError, match=r"has (no|a) .*Write it as scheme://host/path\."):
        UrlPolicy().check(target, WEB)


@pytest.mark.parametrize("reference", [*H5_SCHEMES, *H5_NO_CHAINS])
@pytest.mark.parametrize("source", [WEB, BUCKET])
def test_no_way_to_wrappers_memory_and_foreign_protocols(source, reference):
    """H5: chains, memory, inline data and plug-in protocols are refused from the network."""
    with pytest.raises(UrlPolicyError, match=r"is not allowed from there \(allowed: abfs, gs, http, https, s3\)"):
        follow(source, reference)


@pytest.mark.parametrize("reference", H5_NO_CHAINS)
@pytest.mark.parametrize("source", [WEB, LOCAL])
def test_no_policy_opens_what_is_no_chain(source, reference):
    """A "::" behind something that wraps nothing is refused whatever the policy allows."""
    broad = UrlPolicy(schemes=["https", "http", "file", "s3"], hosts=["*"], allow_local=True)
    with pytest.raises(UrlPolicyError, match=r"a chain of '.*' is not allowed .*Write it as scheme://host/path\.$"):
        follow(source, reference, broad)


@pytest.mark.parametrize(
    "reference", ["simplecache::s3://b/x", "zip://x::https://h/a.zip", "memory://x", "data:,x", "hf://d/x"]
)
def test_local_documents_get_no_wrappers_either(reference):
    """A local document may name local files and network URLs, no wrappers, memory or plug-ins."""
    with pytest.raises(UrlPolicyError, match=r"is not allowed from there \(allowed: .*file, .*https"):
        follow(LOCAL, reference)


@pytest.mark.parametrize(
    "reference", ["t.tif", "/abs/t.tif", "../t.tif", "C:\\t.tif", "ftp://h/x", "sftp://10.0.0.1/x"]
)
def test_local_documents_may_name_files_and_servers(reference):
    """A local document may lead anywhere on the disk and to file servers."""
    assert follow(LOCAL, reference) == join(LOCAL, reference)


@pytest.mark.parametrize(
    ("source", "reference"),
    [
        ("memory://d/e.json", "/x"),
        ("memory://d/e.json", "memory://x"),
        ("sftp://h/d/e.json", "/etc/x"),
        ("sftp://u:p@h:22/d/e.json", "ssh://h/x"),
        ("zip://d/m.json::https://10.0.0.1/a.zip", "zip://x"),
        ("simplecache::s3://bucket/d/e.json", "s3://bucket/x"),
        ("simplecache::zip://m.json::https://h/a.zip", "../x"),
        ("github://org:repo@main/d/e.json", "x"),
        ("reference://d/e.json::https://h/refs.json", "x"),
        ("simplecache::file:///d/e.json", "file:///x"),
        ("simplecache::file:///d/e.json", "https://127.0.0.1/x"),
    ],
)
def test_the_own_filesystem_is_always_open(source, reference):
    """A document may lead about in the filesystem that it came from, inherited wrappers included."""
    assert follow(source, reference) == join(source, reference)


@pytest.mark.parametrize(
    ("source", "reference"),
    [
        ("sftp://h/d/e.json", "sftp://o/x"),
        ("sftp://h/d/e.json", "sftp://h:2222/x"),
        ("memory://d/e.json", "zip://x"),
        ("zip://d/m.json::https://h/a.zip", "zip://x::https://h/b.zip"),
        ("simplecache::s3://bucket/e.json", "simplecache::s3://other/x"),
        ("github://org:repo@main/e.json", "github://evil:repo@main/x"),
    ],
)
def test_the_like_of_others_is_not(source, reference):
    """The same protocol elsewhere is not the own filesystem."""
    with pytest.raises(UrlPolicyError, match="is not allowed from there"):
        follow(source, reference)


ADDRESSES = [
    "127.0.0.1",
    "10.0.0.1",
    "169.254.169.254",
    "::1",
    "fe80::1%2",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "",
    "no",
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_names_that_point_inwards(address):
    """H2: a public name with a private address (DNS rebinding), or with no proper one, is refused."""
    with pytest.raises(
        UrlPolicyError, match=r"leads to host 'localtest\.me', but .*hosts=\['localtest\.me'\]"
    ) as caught:
        UrlPolicy().check_address("localtest.me", address, WEB)
    assert caught.value.url == WEB
    assert caught.value.value == "localtest.me"


@pytest.mark.parametrize(
    ("policy", "host", "address", "source"),
    [
        (UrlPolicy(), "o.example.org", "8.8.8.8", WEB),
        (UrlPolicy(), "o.example.org", "2606:4700::1111", WEB),
        (UrlPolicy(), "intranet.example", "10.0.0.1", LOCAL),
        (UrlPolicy(), "intranet.example", "10.0.0.1", "https://Intranet.Example:8443/e.json"),
        (UrlPolicy(), "INTRANET.example.", "10.0.0.1", "zip://m::https://intranet.example/a.zip"),
        (UrlPolicy(hosts=["intranet.example"]), "intranet.example", "10.0.0.1", WEB),
        (UrlPolicy(hosts=["intranet.example:8080"]), "intranet.example", "10.0.0.1", WEB),
        (UrlPolicy(hosts=["10.0.*"]), "intranet.example", "10.0.0.1", WEB),
        (UrlPolicy(hosts=["[::1]:80"]), "six.example", "::1", WEB),
    ],
)
def test_addresses_that_are_allowed(policy, host, address, source):
    """Public addresses, local documents, the document's own host and named hosts pass; others next to them do not."""
    policy.check_address(host, address, source)
    with pytest.raises(UrlPolicyError, match="is an address of this machine or a private network"):
        policy.check_address("other.example", "192.168.0.9", WEB)


def test_message_names_all_and_hides_secrets():
    """The error says who refers where, what is allowed and what to pass, without secrets."""
    with pytest.raises(UrlPolicyError, match="is not allowed") as caught:
        follow("https://u:SECRET@x/y.json?sig=SECRET", "ftp://u:SECRET@h/x?t=SECRET#SECRET")
    assert str(caught.value) == (
        "https://x/y.json?sig=… refers to 'ftp://h/x?t=…', but 'ftp' is not allowed from there "
        "(allowed: abfs, gs, http, https, s3). "
        "Pass policy=UrlPolicy(schemes=['abfs', 'ftp', 'gs', 'http', 'https', 's3']) to open it anyway."
    )
    assert (caught.value.url, caught.value.value) == ("https://x/y.json?sig=…", "ftp://h/x?t=…")
    assert isinstance(caught.value, PermissionError)


@pytest.mark.parametrize("source", [WEB, BUCKET, LOCAL])
@pytest.mark.parametrize(
    "policy", [UrlPolicy(), UrlPolicy(same_origin=True), UrlPolicy(hosts=["x.org"]), UrlPolicy(schemes=[])]
)
@pytest.mark.parametrize(
    "reference", [*H1_LOCAL_FILES, *H5_SCHEMES, "http://[::1]:81/x", "http://127.1/x", "https://o.org/x"]
)
def test_the_advice_works(source, policy, reference):
    """Whoever follows the advice of the errors gets through after at most three of them."""
    for _ in range(4):
        try:
            follow(source, reference, policy)
        except UrlPolicyError as error:
            advice = re.search(r"Pass policy=(UrlPolicy\(.*\)) to open it anyway\.$", str(error))
            policy = eval(advice[1], {"UrlPolicy": UrlPolicy})
        else:
            return
    pytest.fail(f"still refused with {policy}")


@pytest.mark.parametrize(
    ("policy", "source", "allowed", "refused"),
    [
        (UrlPolicy(schemes=["https"]), WEB, "https://o.example.org/x", "s3://b/x"),
        (UrlPolicy(schemes=["https"]), WEB, "https://o.example.org/x", "http://o.example.org/x"),
        (UrlPolicy(schemes=["S3A"]), WEB, "s3://b/x", "gs://b/x"),
        (UrlPolicy(schemes=["ftp"]), WEB, "ftp://o.example.org/x", "ftp://127.0.0.1/x"),
        (UrlPolicy(schemes=["simplecache", "s3"]), WEB, "simplecache::s3://b/x", "simplecache::gs://b/x"),
        (UrlPolicy(schemes=["https"]), LOCAL, "/abs/x", "s3://b/x"),
        (UrlPolicy(schemes=[]), WEB, "/own", "https://o.example.org/x"),
        (UrlPolicy(allow_local=True), WEB, "file:///x", "memory://x"),
        (UrlPolicy(allow_local=True), WEB, "C:\\x", "simplecache::file:///x"),
        (UrlPolicy(same_origin=True), WEB, "https://DATA.example.org:443/x", "https://o.example.org/x"),
        (UrlPolicy(same_origin=True), WEB, "/x", "http://data.example.org/x"),
        (UrlPolicy(same_origin=True), BUCKET, "s3a://bucket/x", "s3://other/x"),
        (UrlPolicy(same_origin=True), LOCAL, "/abs/x", "https://o.example.org/x"),
        (UrlPolicy(same_origin=True, allow_local=True), WEB, "file:///x", "https://o.example.org/x"),
        (UrlPolicy(hosts=["*.example.org"]), BUCKET, "https://o.example.org/x", "https://example.com/x"),
        (UrlPolicy(hosts=["*.EXAMPLE.org"]), WEB, "/own", "s3://bucket/x"),
        (UrlPolicy(hosts=["o.example.org"]), WEB, "//o.example.org:8443/x", "//o.example.org.evil.com/x"),
        (UrlPolicy(hosts=["buck*"]), WEB, "s3://bucket/x", "s3://other/x"),
        (UrlPolicy(hosts=["c"]), WEB, "az://c/x", "abfs://d@c.dfs.core.windows.net/x"),
        (UrlPolicy(hosts=["127.0.0.1"]), WEB, "http://127.0.0.1:81/x", "http://127.0.0.2/x"),
        (UrlPolicy(hosts=["127.0.0.1:8080"]), WEB, "http://127.0.0.1:8080/x", "http://127.0.0.1:8081/x"),
        (UrlPolicy(hosts=["o.example.org:443"]), WEB, "https://o.example.org/x", "http://o.example.org/x"),
        (UrlPolicy(hosts=["::1"]), WEB, "http://[0::1]:99/x", "http://[::2]/x"),
        (UrlPolicy(hosts=["[0:0::1]:80"]), WEB, "http://[::1]/x", "http://[::1]:81/x"),
        (UrlPolicy(hosts=["[::1]"]), WEB, "http://[::1]/x", "http://1/x"),
        (UrlPolicy(hosts=["münchen.example"]), WEB, "http://xn--mnchen-3ya.example/x", "http://munchen.example/x"),
        (UrlPolicy(hosts=["o.example.org"]), LOCAL, "/abs/x", "https://example.com/x"),
        (UrlPolicy(hosts=[]), WEB, "/own", "https://o.example.org/x"),
    ],
)
def test_settings(policy, source, allowed, refused):
    """Each setting opens what it names, and closes what lies next to it."""
    assert follow(source, allowed, policy) == join(source, allowed)
    with pytest.raises(
        UrlPolicyError, match=r"not allowed|not among the hosts allowed|only its own origin|private network"
    ):
        follow(source, refused, policy)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            {"schemes": "https"},
            TypeError,
            r"schemes must be a list of names, got the text 'https'\. Write schemes=\['https'\]",
        ),
        ({"hosts": "h"}, TypeError, r"hosts must be a list of names, got the text 'h'"),
        ({"hosts": b"h"}, TypeError, "hosts must be a list of names"),
        ({"hosts": [3]}, TypeError, "got 3 in it"),
        ({"schemes": ["https://"]}, ValueError, "schemes must be a list of bare names, got 'https://' in it"),
        ({"schemes": ["c"]}, ValueError, "got 'c' in it"),
        ({"hosts": ["https://h/"]}, ValueError, "hosts must be a list of bare names, got 'https://h/' in it"),
        ({"hosts": ["u:pw@h"]}, ValueError, "got 'h' in it"),
        ({"hosts": [""]}, ValueError, "got '' in it"),
        ({"hosts": ["::zz"]}, ValueError, "'::zz' is no host, bucket or IPv6 address"),
        ({"same_origin": 1}, TypeError, "same_origin must be True or False, got 1"),
        ({"allow_local": "no"}, TypeError, "allow_local must be True or False, got 'no'"),
        ({"same_origin": True, "hosts": ["h"]}, ValueError, "same_origin=True leaves no room for schemes or hosts"),
        ({"same_origin": True, "schemes": ["s3"]}, ValueError, "same_origin=True leaves no room"),
    ],
)
def test_settings_are_checked(arguments, kind, message):
    """A setting that cannot be meant is refused at once, saying how to write it."""
    with pytest.raises(kind, match=message):
        UrlPolicy(**arguments)


def test_a_policy_is_a_value():
    """Policies compare, hash and pickle by content, are keyword-only, and their repr can be pasted."""
    policy = UrlPolicy(schemes=["gcs", "HTTPS"], hosts={"H.example"}, allow_local=True)
    assert repr(policy) == "UrlPolicy(schemes=['gs', 'https'], hosts=['h.example'], allow_local=True)"
    assert eval(repr(policy)) == policy == pickle.loads(pickle.dumps(policy))
    assert len({policy, UrlPolicy(schemes=("https", "gs"), hosts=["h.example"], allow_local=True), UrlPolicy()}) == 2
    assert repr(UrlPolicy()) == "UrlPolicy()"
    with pytest.raises(TypeError, match="positional"):
        UrlPolicy(["https"])
    with pytest.raises(AttributeError, match=r"cannot assign|frozen"):
        policy.allow_local = False


ODD = st.one_of(
    st.text(max_size=30),
    st.lists(
        st.sampled_from(
            ["http:", "file:", "s3:", "//", "/", "::", "@", "[", "]", "%", "127.0.0.1", "0x7f", ":80", "ab", "é", "\\"]
        ),
        max_size=10,
    ).map("".join),
)


@settings(deadline=None)
@given(
    ODD,
    ODD,
    st.sampled_from([UrlPolicy(), UrlPolicy(hosts=["*"]), UrlPolicy(same_origin=True), UrlPolicy(schemes=["ab"])]),
)
def test_check_raises_nothing_else(target, source, policy):
    """Whatever the texts, check answers or raises UrlPolicyError, and so does check_address."""
    advice = r"Pass policy=UrlPolicy\(.*\) to open it anyway\.$|Write it as scheme://host/path\.$"
    for question in (lambda: policy.check(target, source), lambda: policy.check_address(target, source, WEB)):
        try:
            answer = question()
        except UrlPolicyError as error:
            answer = None if re.search(advice, str(error)) else error
        assert answer is None


@settings(deadline=None)
@given(ODD)
def test_nothing_written_in_a_network_document_reaches_local_files(reference):
    """Whatever a network document says, what gets through is no local file, no chain and no private host."""
    try:
        target = follow(WEB, reference)
    except (ManifestError, UrlPolicyError):
        return
    assert re.match(r"(https?|s3a?|gs|gcs|az|abfss?)://", target)
    assert not re.match(r"https?://(?:[^/@]*@)?(127\.0\.0\.1|0x7f)(?::[0-9]*)?(?:[/?#]|$)", target)
