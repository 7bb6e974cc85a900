"""Writes attestation.json; generate.py calls it.

The TPM's structures are put together here by TPM 2.0 Library Part 2, and signed, so that each
bundle that is to be accepted is one that a TPM could have made.
"""

import datetime
import hashlib
import struct

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

NONCE = bytes(range(32))
DOMAIN = b"keyward attestation 1\0"
ECC, RSA, KEYEDHASH = 0x0023, 0x0001, 0x0008
SHA1, SHA256, SHA384 = 0x0004, 0x000B, 0x000C
NULL, ECDSA, AES, CFB, CBC = 0x0010, 0x0018, 0x0006, 0x0043, 0x0042
KEY, AK, EK = 0x00040472, 0x00050472, 0x000300B2
POLICY_A = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")


def u16(*numbers):
    return b"".join(struct.pack(">H", number) for number in numbers)


def u32(number):
    return struct.pack(">I", number)


def sized(data):
    return u16(len(data)) + data


def ecc(x, y, curve=3, **more):
    return public(ECC, u16(curve, NULL), sized(x) + sized(y), **more)


def rsa(n, bits=2048, exponent=0, **more):
    return public(RSA, u16(bits) + u32(exponent), sized(n), **more)


def public(kind, parameters, unique, attributes=KEY, name=SHA256, policy=b"", symmetric=u16(NULL), scheme=u16(ECDSA, SHA256)):
    """TPMT_PUBLIC."""
    return u16(kind, name) + u32(attributes) + sized(policy) + symmetric + scheme + parameters + unique


def name_of(area):
    digest = {SHA256: hashlib.sha256, SHA384: hashlib.sha384}[int.from_bytes(area[2:4], "big")]
    return area[2:4] + digest(area).digest()


def certify(name, data, magic=b"\xffTCG", kind=0x8017, safe=1):
    """TPMS_ATTEST."""
    clock = struct.pack(">QIIB", 123456, 1, 2, safe)
    return magic + u16(kind) + sized(b"\x00\x0b" + bytes(32)) + sized(data) + clock + bytes(8) + sized(name) + sized(name)


def signature(key, message):
    """TPMT_SIGNATURE."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True)))
    return u16(ECDSA, SHA256) + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))


def point(key):
    numbers = key.public_numbers() if hasattr(key, "public_numbers") else key.public_key().public_numbers()
    width = (numbers.curve.key_size + 7) // 8
    return numbers.x.to_bytes(width, "big"), numbers.y.to_bytes(width, "big")


def files(g, keys):
    f = g.File("attestation", "What attestations consist of (SPEC.md §13); `what` says which structure `hex` is. `tpm_name`, `cose_key`, `attributes`, `qualifying_data` and `signature`, and `firmware`, `serial`, `policies`, `form_factor` and `constraints` of a certificate, are what is in it.")
    tpm_publics(g, f, keys)
    tpm_certifies(f)
    tpm_signatures(f)
    piv_certificates(f)
    documents(g, f, keys)
    f.write()


def tpm_publics(g, f, keys):
    what = {"what": "tpm-public"}
    p256, p384, modulus = keys["ec-p-256"], keys["ec-p-384"], keys["rsa-2048"]
    x, y = point(p256)
    n = modulus.public_numbers().n.to_bytes(256, "big")
    cipher = u16(AES, 128, CFB)

    def accept(name, area, key, attributes=KEY):
        f.accept(f"public: {name}", area, **what, tpm_name=name_of(area).hex(), cose_key=g.enc(g.cose_key(key)).hex(), attributes=attributes)

    accept("P-256", ecc(x, y), p256)
    accept("an attestation key", ecc(x, y, attributes=AK), p256, AK)
    accept("P-256 without a scheme", ecc(x, y, scheme=u16(NULL)), p256)
    accept("P-384", ecc(*point(p384), curve=4, scheme=u16(ECDSA, SHA384)), p384)
    accept("P-384 with a name of SHA-384", ecc(*point(p384), curve=4, name=SHA384, scheme=u16(NULL)), p384)
    accept("an endorsement key of P-256", ecc(x, y, attributes=EK, policy=POLICY_A, symmetric=cipher, scheme=u16(NULL)), p256, EK)
    accept("an endorsement key of RSA", rsa(n, attributes=EK, policy=POLICY_A, symmetric=cipher, scheme=u16(NULL)), modulus, EK)
    accept("RSA for RSASSA", rsa(n, scheme=u16(0x14, SHA256)), modulus)
    accept("RSA for RSAES, which has no digest", rsa(n, scheme=u16(0x15)), modulus)
    accept("RSA with its exponent written out", rsa(n, exponent=65537, scheme=u16(NULL)), modulus)
    accept("AES-256 as cipher", ecc(x, y, symmetric=u16(AES, 256, CFB), scheme=u16(NULL)), p256)

    def reject(name, area, error):
        f.reject(f"public: {name}", area, error, **what)

    good = ecc(x, y)
    for cut in (0, 1, 5, 11, 20, len(good) - 1):
        reject(f"cut after {cut}", good[:cut], "truncated")
    reject("a byte behind it", good + b"\0", "trailing")
    reject("a TPM2B_PUBLIC", sized(good), "unknown")
    reject("an HMAC key", u16(KEYEDHASH, SHA256) + u32(KEY) + sized(b"") + u16(5, SHA256) + sized(bytes(32)), "unknown")
    reject("a name of SHA-1", ecc(x, y, name=SHA1), "unknown")
    reject("P-521", ecc(x, y, curve=5), "unknown")
    reject("P-256 with the curve of P-384 and longer numbers", ecc(*point(p384)), "value")
    reject("an empty point", ecc(b"", b""), "value")
    reject("a point of half a key", ecc(x, b""), "value")
    reject("ECDAA", ecc(x, y, scheme=u16(0x1A, SHA256, 1)), "unknown")
    reject("AES in CBC mode", ecc(x, y, symmetric=u16(AES, 128, CBC)), "unknown")
    reject("AES-192", ecc(x, y, symmetric=u16(AES, 192, CFB)), "unknown")
    reject("Camellia", ecc(x, y, symmetric=u16(0x26, 128, CFB)), "unknown")
    reject("a policy of 31 bytes", ecc(x, y, policy=POLICY_A[1:]), "value")
    reject("a policy of another digest than the name", ecc(x, y, policy=bytes(48)), "value")
    reject("a template", rsa(b"", scheme=u16(NULL)), "value")
    reject("a modulus of another length than it says", rsa(n, bits=3072, scheme=u16(NULL)), "value")
    reject("an even modulus", rsa(n[:-1] + b"\0", scheme=u16(NULL)), "value")
    reject("a modulus with a leading zero", rsa(b"\0" + n[1:], scheme=u16(NULL)), "value")
    reject("an even exponent", rsa(n, exponent=2, scheme=u16(NULL)), "value")


def tpm_certifies(f):
    what = {"what": "tpm-certify"}
    name = u16(SHA256) + bytes(range(32))
    data = hashlib.sha256(DOMAIN + NONCE).digest()
    good = certify(name, data)
    f.accept("certify: of SHA-256", good, **what, tpm_name=name.hex(), qualifying_data=data.hex())
    f.accept("certify: with a clock that is not safe", certify(name, data, safe=0), **what, tpm_name=name.hex(), qualifying_data=data.hex())
    f.accept("certify: without data", certify(name, b""), **what, tpm_name=name.hex(), qualifying_data="")
    for cut in (0, 3, 5, 40, 60, len(good) - 1):
        f.reject(f"certify: cut after {cut}", good[:cut], "truncated", **what)
    f.reject("certify: a byte behind it", good + b"\0", "trailing", **what)
    f.reject("certify: another magic", certify(name, data, magic=b"\xffTCH"), "not-generated", **what)
    f.reject("certify: a message that begins like nothing of a TPM", b"Subject: " + good, "not-generated", **what)
    f.reject("certify: a quote", certify(name, data, kind=0x8018), "not-certify", **what)
    f.reject("certify: of a creation", certify(name, data, kind=0x801A), "not-certify", **what)
    f.reject("certify: a TPM2B_ATTEST", sized(good), "not-generated", **what)
    f.reject("certify: a clock that is 2", certify(name, data, safe=2), "value", **what)


def tpm_signatures(f):
    what = {"what": "tpm-signature"}
    r, s = bytes(range(1, 33)), bytes(range(2, 34))
    head = u16(ECDSA, SHA256)
    f.accept("signature: P-256", head + sized(r) + sized(s), **what, signature=(r + s).hex())
    f.accept("signature: without leading zeros", head + sized(r[1:]) + sized(s), **what, signature=(b"\0" + r[1:] + s).hex())
    f.reject("signature: nothing", b"", "truncated", **what)
    f.reject("signature: cut", (head + sized(r) + sized(s))[:-1], "truncated", **what)
    f.reject("signature: a byte behind it", head + sized(r) + sized(s) + b"\0", "trailing", **what)
    f.reject("signature: RSASSA", u16(0x14, SHA256) + sized(bytes(256)), "unknown", **what)
    f.reject("signature: with SHA-384", u16(ECDSA, SHA384) + sized(r) + sized(s), "unknown", **what)
    f.reject("signature: of P-384", head + sized(bytes(48)) + sized(bytes(48)), "value", **what)
    f.reject("signature: an empty number", head + sized(b"") + sized(s), "value", **what)


YUBICO = "1.3.6.1.4.1.41482.3"
PIV_CARD = ec.derive_private_key(0xCA4D, ec.SECP256R1())


def card_certificate(extensions, constraints=None):
    """A certificate of Yubico's attestation, with these extensions of its arc."""
    day = datetime.datetime(2016, 3, 14)
    name = lambda text: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
    builder = x509.CertificateBuilder(
        name("Yubico PIV Attestation"), name("YubiKey PIV Attestation 9a"), PIV_CARD.public_key(), 7, day, day.replace(year=2052)
    )
    for number, value in extensions:
        oid = x509.ObjectIdentifier(number if isinstance(number, str) else f"{YUBICO}.{number}")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    if constraints is not None:
        builder = builder.add_extension(x509.BasicConstraints(constraints, None), critical=True)
    certificate = builder.sign(PIV_CARD, hashes.SHA256(), ecdsa_deterministic=True)
    return certificate.public_bytes(serialization.Encoding.DER)


def piv_certificates(f):
    what = {"what": "piv-certificate"}
    firmware, serial, policies, form = (3, b"\5\4\3"), (7, b"\2\4\0\xf0\x0f\x14"), (8, b"\2\1"), (9, b"\4")

    def accept(name, extensions, constraints=None, **said):
        said = {"constraints": constraints is not None, **said}
        f.accept(f"card: {name}", card_certificate(extensions, constraints), **what, **said)

    def reject(name, certificate, error):
        f.reject(f"card: {name}", certificate, error, **what)

    accept("all that is said", [firmware, serial, policies, form], firmware="050403", serial=15732500, policies="0201", form_factor=4)
    accept("no serial number, no form", [firmware, policies], firmware="050403", policies="0201")
    accept("a serial number with a zero too much", [(7, b"\2\4\0\x50\0\1")], serial=0x500001)
    accept("the greatest serial number", [(7, b"\2\5\0\xff\xff\xff\xff")], serial=0xFFFFFFFF)
    accept("nothing", [])
    accept("an authority", [firmware], True, firmware="050403")
    accept("no authority, and it says so", [firmware], False, firmware="050403")
    accept("an extension of the arc that is new", [firmware, (10, b"x")], firmware="050403")
    accept("the arc with a number behind", [("1.3.6.1.4.1.41482.3.3.1", b"x")])
    accept("the arc of OpenPGP", [("1.3.6.1.4.1.41482.5.3", b"\5\4\3")])

    good = card_certificate([firmware, serial, policies, form])
    for cut in (0, 1, 3, 100, 250, len(good) - 1):
        reject(f"cut after {cut}", good[:cut], "shape")
    reject("a byte behind it", good + b"\0", "shape")
    reject("PEM", b"-----BEGIN CERTIFICATE-----", "shape")
    reject("two bytes of firmware", card_certificate([(3, b"\5\4")]), "value")
    reject("a firmware in an OCTET STRING of its own", card_certificate([(3, b"\4\3\5\4\3")]), "value")
    reject("a serial number that is negative", card_certificate([(7, b"\2\4\xf0\0\0\0")]), "value")
    reject("a serial number of 33 bits", card_certificate([(7, b"\2\5\1\0\0\0\0")]), "value")
    reject("a serial number of no bytes", card_certificate([(7, b"\2\0")]), "value")
    reject("a serial number that is a text", card_certificate([(7, b"\x0c\1" + b"1")]), "value")
    reject("one policy", card_certificate([(8, b"\2")]), "value")
    reject("an empty form", card_certificate([(9, b"")]), "value")
    # Twice the same one: the library makes none, so another is renamed, behind the signature.
    arc = bytes.fromhex("2b0601040182c40a03")
    reject("firmware twice", card_certificate([firmware, (10, b"\4\3\5")]).replace(arc + b"\x0a", arc + b"\3"), "twice")
    reject("policies twice", card_certificate([policies, (10, b"\1\1")]).replace(arc + b"\x0a", arc + b"\x08"), "twice")


def documents(g, f, keys):
    magics = {
        "bundle": "keyward-attestation", "attestation-key": "keyward-attestation-key", "challenge": "keyward-challenge",
        "pending": "keyward-challenge-pending", "enrolment": "keyward-enrolment",
    }
    key, p384 = keys["ec-p-256"], keys["ec-p-384"]
    signer = ec.derive_private_key(0x5EED, ec.SECP256R1())
    ak, area = ecc(*point(signer), attributes=AK), ecc(*point(key))
    said = certify(name_of(area), hashlib.sha256(DOMAIN + NONCE).digest())
    ek = ecc(*point(p384), curve=4, name=SHA384, attributes=0x000300F2, policy=bytes(48), symmetric=u16(AES, 256, CFB), scheme=u16(NULL))
    full = {0: ak, 1: ek, 2: [b"\x30\x03\x02\x01\x01", b"\x30\x00"]}
    bare = {0: ak, 2: []}
    statement = {0: area, 1: said, 2: signature(signer, said), 3: full, 4: [b"\x30\x00"]}
    good = {
        "bundle": {2: [1, statement], 3: NONCE, 4: g.cose_key(key)},
        "attestation-key": {2: [1, full]},
        "challenge": {2: bytes(range(68)), 3: bytes(range(100))},
        "pending": {2: name_of(ak), 3: bytes(32), 4: bytes(range(32))},
        "enrolment": {2: name_of(ak), 3: bytes(32), 4: 1700000000},
    }

    def whole(kind, body, form=1):
        return {0: magics[kind], 1: form, **body}

    for kind, body in good.items():
        what = {"what": kind}
        g.check({"bundle": "attestation-bundle", "pending": "challenge-pending"}.get(kind, kind), whole(kind, body))
        f.accept(f"{kind}: all fields", whole(kind, body), **what)
        document = g.enc(whole(kind, body))
        f.reject(f"{kind}: cut", document[:-1], "truncated", **what)
        f.reject(f"{kind}: a byte behind it", document + b"\0", "trailing", **what)
        f.reject(f"{kind}: form 2", whole(kind, {9: "new"}, form=2), "newer", **what)
        f.reject(f"{kind}: an unknown field", whole(kind, {**body, 9: 0}), "shape", **what)
        f.reject(f"{kind}: the magic of a backup", {**whole(kind, body), 0: "keyward-backup"}, "foreign", **what)
        f.reject(f"{kind}: an array", [1, 2], "foreign", **what)
        f.reject(f"{kind}: nothing", b"", "foreign", **what)
        for number in body:
            f.reject(f"{kind}: without field {number}", whole(kind, {k: v for k, v in body.items() if k != number}), "shape", **what)
            f.reject(f"{kind}: field {number} as text", whole(kind, {**body, number: "x"}), "shape", **what)
    bundle, what = good["bundle"], {"what": "bundle"}

    def with_statement(**changes):
        changed = {**statement, **{int(k[1:]): v for k, v in changes.items()}}
        return whole("bundle", {**bundle, 2: [1, changed]})

    card = {0: card_certificate([(3, b"\5\4\3"), (8, b"\2\1")]), 1: [card_certificate([(3, b"\5\4\3")], True)]}

    def of_card(**changes):
        changed = {**card, **{int(k[1:]): v for k, v in changes.items()}}
        return whole("bundle", {**bundle, 2: [2, {k: v for k, v in changed.items() if v is not None}], 4: g.cose_key(PIV_CARD.public_key())})

    g.check("attestation-bundle", of_card())
    f.accept("bundle: of a card", of_card(), **what)
    f.accept("bundle: of a card without a certificate of its own", of_card(_1=[]), **what)
    f.reject("bundle: of a card, without the certificate of the key", of_card(_0=None), "shape", **what)
    f.reject("bundle: of a card, without a chain", of_card(_1=None), "shape", **what)
    f.reject("bundle: of a card, an unknown field", of_card(_2=0), "shape", **what)
    f.reject("bundle: of a card, an empty certificate", of_card(_0=b""), "value", **what)
    f.reject("bundle: of a card, a certificate of 4,097 bytes", of_card(_0=bytes(4097)), "value", **what)
    f.reject("bundle: of a card, five certificates", of_card(_1=[b"x"] * 5), "value", **what)
    f.reject("bundle: a statement of a card as that of a TPM", whole("bundle", {**bundle, 2: [1, card]}), "shape", **what)
    f.accept("bundle: without what is optional", with_statement(_3=bare, _4=[]), **what)
    f.accept("bundle: the shortest nonce", whole("bundle", {**bundle, 3: bytes(16)}), **what)
    f.accept("bundle: the longest nonce", whole("bundle", {**bundle, 3: bytes(64)}), **what)
    f.accept("bundle: four certificates", with_statement(_4=[b"x"] * 4), **what)
    f.accept("attestation-key: without what is optional", whole("attestation-key", {2: [1, bare]}), what="attestation-key")
    f.accept("enrolment: a name of SHA-384", whole("enrolment", {**good["enrolment"], 2: bytes(50)}), what="enrolment")
    f.reject("bundle: another kind of token", whole("bundle", {**bundle, 2: [3, {}]}), "kind", **what)
    f.reject("bundle: another kind of token, and a field of its own", whole("bundle", {2: [3, b"x"], 7: 1}), "kind", **what)
    f.reject("attestation-key: another kind of token", whole("attestation-key", {2: [2, {}]}), "kind", what="attestation-key")
    f.reject("bundle: three items in a statement", whole("bundle", {**bundle, 2: [1, statement, 0]}), "shape", **what)
    f.reject("bundle: an unknown field in a statement", with_statement(_5=0), "shape", **what)
    f.reject("bundle: an unknown field in an identity", with_statement(_3={**full, 3: 0}), "shape", **what)
    f.reject("bundle: a private key", whole("bundle", {**bundle, 4: {**g.cose_key(key), -4: bytes(32)}}), "shape", **what)
    f.reject("bundle: a nonce of 15 bytes", whole("bundle", {**bundle, 3: bytes(15)}), "value", **what)
    f.reject("bundle: a nonce of 65 bytes", whole("bundle", {**bundle, 3: bytes(65)}), "value", **what)
    f.reject("bundle: five certificates", with_statement(_4=[b"x"] * 5), "value", **what)
    f.reject("bundle: an empty certificate", with_statement(_4=[b""]), "value", **what)
    f.reject("bundle: a certificate of 4,097 bytes", with_statement(_3={**full, 2: [bytes(4097)]}), "value", **what)
    f.reject("bundle: 64 KiB", with_statement(_0=bytes(65536)), "too-long", **what)
    f.reject("bundle: its fields in another order", g.unordered((1, 1), (0, magics["bundle"]), *bundle.items()), "key-order", **what)
    f.reject("challenge: an empty part", whole("challenge", {2: b"", 3: b"x"}), "value", what="challenge")
    f.reject("challenge: a part of 513 bytes", whole("challenge", {2: b"x", 3: bytes(513)}), "value", what="challenge")
    f.reject("pending: a name of 33 bytes", whole("pending", {**good["pending"], 2: bytes(33)}), "value", what="pending")
    f.reject("pending: a digest of 31 bytes", whole("pending", {**good["pending"], 4: bytes(31)}), "shape", what="pending")
    f.reject("enrolment: a time before 1970", whole("enrolment", {**good["enrolment"], 4: -1}), "shape", what="enrolment")
    f.reject("enrolment: a challenge that waits", whole("pending", good["pending"]), "foreign", what="enrolment")
