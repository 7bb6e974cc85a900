#!/usr/bin/env python3
"""Writes the vectors beside it. Run by hand when the protocol changes; README.md says how.

This is a second implementation of SPEC.md, made from cbor2 and cryptography, so that the
vectors don't come from the code that they test. Each accepted message is also checked
against keyward.cddl if pycddl is there.
"""

import hashlib
import json
import re
import sys
from pathlib import Path

import attestations
import cbor2
import ciphertexts
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

try:
    import pycddl
except ImportError:
    pycddl = None

HERE = Path(__file__).parent
UUID = "0b8f6f0e-5f0c-4c53-9d0a-3f3a54b0c9a1"


CONTEXT = {"b": "2", "aa": "1", "": "é"}


class Raw(bytes):
    """An item that is encoded already."""


def enc(value):
    """Encodes by RFC 8949 §4.2.1: the keys of maps in the order of their encodings."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, dict):
        entries = sorted((enc(key), enc(item)) for key, item in value.items())
        return head(5, len(entries)) + b"".join(key + item for key, item in entries)
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(map(enc, value))
    return cbor2.dumps(value)


def head(major, argument):
    """The head of an item, taken from cbor2's encoding of an integer."""
    first, *rest = cbor2.dumps(argument)
    return bytes([major << 5 | first, *rest])


def unordered(*entries):
    """A map in the order that is given."""
    return Raw(head(5, len(entries)) + b"".join(enc(key) + enc(value) for key, value in entries))


def nested(depth):
    return b"\x81" * depth + b"\x00"


class File:
    def __init__(self, name, about):
        self.name, self.about, self.vectors = name, about, []

    def add(self, name, data, outcome, **more):
        data = data if isinstance(data, bytes) else enc(data)
        assert name not in [v["name"] for v in self.vectors], name
        self.vectors.append({"name": name, "hex": data.hex(), "outcome": outcome, **more})

    def accept(self, name, data, **more):
        self.add(name, data, "accept", **more)

    def reject(self, name, data, error, **more):
        self.add(name, data, "reject", error=error, **more)

    def write(self):
        rejects = sum(v["outcome"] == "reject" for v in self.vectors)
        print(f"{self.name}: {len(self.vectors)} vectors, {rejects} rejects")
        text = json.dumps({"about": self.about, "vectors": self.vectors}, indent=1, ensure_ascii=False)
        (HERE / f"{self.name}.json").write_text(text + "\n")


# ---- grammar ----

# cddl-rs, which is behind pycddl, looks for .cbor of an array's first item in all of them: what is
# in those bytes is checked on its own.
CDDL = re.sub(r"bytes \.cbor [a-z-]+", "bytes", (HERE.parent / "keyward.cddl").read_text())
# It takes no message for an empty map.
EMPTY = {"status", "get-attestation-key", "lock", "list", "destroyed", "done", "rescan", "subscribe"}


def check(rule, value):
    if pycddl is None or (rule in EMPTY and value == {}):
        return
    pycddl.Schema(f"start = {rule}\n{CDDL}").validate_cbor(enc(value))


# ---- cbor ----

def cbor_file():
    f = File("cbor", "Single items and whether they are of the profile (SPEC.md §4).")
    for name, data in {
        "zero": "00", "23 in one byte": "17", "24 in two bytes": "1818", "255": "18ff", "256": "190100",
        "65535": "19ffff", "65536": "1a00010000", "2^32": "1b0000000100000000", "2^64-1": "1bffffffffffffffff",
        "-1": "20", "-24": "37", "-25": "3818", "-2^64": "3bffffffffffffffff",
        "empty bytes": "40", "empty text": "60", "empty array": "80", "empty map": "a0",
        "false": "f4", "true": "f5", "two-byte character": "62c3a9", "four-byte character": "64f09f9491",
        "NUL in text": "6100", "map in order, 1 before -1": "a201002000", "24 before -1": "a21818002000",
        "b before aa": "a2616200626161 00", "map with an array as key": "a1810000",
        "bytes before text as keys": "a241000060 00",
    }.items():
        f.accept(name, bytes.fromhex(data))
    f.accept("24 bytes", b"\x58\x18" + bytes(24))
    f.accept("16 arrays deep", nested(16))
    f.accept("16 maps deep", b"\xa1\x00" * 16 + b"\x00")
    for name, data, error in [
        ("nothing", "", "truncated"),
        ("two items", "0000", "trailing"),
        ("0 in two bytes", "1800", "not-shortest"), ("23 in two bytes", "1817", "not-shortest"),
        ("255 in three bytes", "1900ff", "not-shortest"), ("65535 in five bytes", "1a0000ffff", "not-shortest"),
        ("2^32-1 in nine bytes", "1b00000000ffffffff", "not-shortest"), ("-1 in two bytes", "3800", "not-shortest"),
        ("length 1 in two bytes", "580100", "not-shortest"), ("count 1 in two bytes", "980100", "not-shortest"),
        ("map count 0 in two bytes", "b800", "not-shortest"),
        ("bytes of no definite length", "5f4100ff", "indefinite"), ("text of no definite length", "7f6161ff", "indefinite"),
        ("array of no definite length", "9f00ff", "indefinite"), ("map of no definite length", "bf0000ff", "indefinite"),
        ("break alone", "ff", "unsupported"), ("break in an array", "81ff", "unsupported"),
        ("a key twice", "a200000000", "key-order"), ("keys the wrong way round", "a201000000", "key-order"),
        ("-1 before 1", "a220000100", "key-order"), ("-1 before 24", "a22000181800", "key-order"),
        ("aa before b", "a262616100616200", "key-order"), ("a text key twice", "a2616100616101", "key-order"),
        ("wrong order in an inner map", "a100a201000000", "key-order"),
        ("a byte that is not UTF-8", "61ff", "utf8"), ("overlong UTF-8", "62c080", "utf8"), ("a surrogate", "63eda080", "utf8"),
        ("above U+10FFFF", "64f4908080", "utf8"), ("a character cut in two", "61c3", "utf8"),
        ("a tag", "c11a514b67b0", "unsupported"), ("a bignum", "c249010000000000000000", "unsupported"),
        ("a half float", "f93c00", "unsupported"), ("a single float", "fa47c35000", "unsupported"),
        ("a double float", "fb3ff199999999999a", "unsupported"), ("null", "f6", "unsupported"), ("undefined", "f7", "unsupported"),
        ("simple value 0", "e0", "unsupported"), ("simple value 32", "f820", "unsupported"), ("false in two bytes", "f814", "unsupported"),
        ("reserved info 28", "1c", "unsupported"), ("reserved info 30 of an array", "9e", "unsupported"),
        ("an integer without end", "1f", "unsupported"),
        ("an integer cut short", "1903", "truncated"), ("bytes cut short", "4261", "truncated"), ("text cut short", "6261", "truncated"),
        ("an array cut short", "8200", "truncated"), ("a map without its value", "a100", "truncated"),
        ("bytes of 4 GiB", "5affffffff", "truncated"), ("bytes of 2^64-1", "5bffffffffffffffff", "truncated"),
        ("an array of 2^64-1", "9bffffffffffffffff00", "truncated"), ("a map of 2^64-1", "bbffffffffffffffff0000", "truncated"),
        ("a map of 2^63", "bb80000000000000000000", "truncated"),
    ]:
        f.reject(name, bytes.fromhex(data), error)
    f.reject("17 arrays deep", nested(17), "too-deep")
    f.reject("5,000 arrays deep", nested(5000), "too-deep")
    f.reject("17 maps deep", b"\xa1\x00" * 17 + b"\x00", "too-deep")
    f.write()


# ---- frames ----

def frame(body):
    return len(body).to_bytes(4, "big") + body


def frame_file():
    f = File("frames", "Streams of frames (SPEC.md §3): the frames in them, what is left over, or why the stream ends. Each has its limit.")

    def accept(name, data, frames, left=0, limit=65536):
        f.accept(name, data, limit=limit, frames=[x.hex() for x in frames], left=left)

    def reject(name, data, frames=(), limit=65536):
        f.reject(name, data, "too-large", limit=limit, frames=[x.hex() for x in frames])

    accept("nothing yet", b"", [])
    accept("one", frame(b"\xa0"), [b"\xa0"])
    accept("two", frame(b"\xa0") + frame(b"\x81\x00"), [b"\xa0", b"\x81\x00"])
    accept("an empty one", frame(b""), [b""])
    accept("three bytes of a length", b"\0\0\0", [], left=3)
    accept("a length alone", b"\0\0\0\1", [], left=4)
    accept("one, and part of the next", frame(b"\xa0") + b"\0\0\0\2\x81", [b"\xa0"], left=5)
    accept("just the limit", frame(bytes(16)), [bytes(16)], limit=16)
    accept("a length of the limit, without its bytes", (65536).to_bytes(4, "big"), [], left=4)
    reject("one above the limit", frame(bytes(17)), limit=16)
    reject("one above 64 KiB", (65537).to_bytes(4, "big"))
    reject("4 GiB", b"\xff\xff\xff\xff")
    reject("2 GiB", b"\x80\0\0\0")
    reject("a length in the wrong byte order", b"\1\0\0\0\xa0")
    reject("one good, then one too long", frame(b"\xa0") + b"\0\1\0\1", [b"\xa0"])
    reject("text instead of frames", b"GET / HTTP/1.1\r\n")
    reject("a limit of 0", frame(b"\xa0"), limit=0)
    reject("one good at a small limit, then 17 bytes", frame(bytes(16)) + frame(bytes(17)), [bytes(16)], limit=16)
    f.write()


# ---- keys ----

def public_keys():
    """Public keys by name: made by openssl, and some of a shape of their own."""
    keys = {p.stem: serialization.load_pem_public_key(p.read_bytes()) for p in sorted((HERE / "keys").glob("*.pem"))}
    for curve in (ec.SECP256R1(), ec.SECP384R1()):
        for axis in "xy":
            width = (curve.key_size + 7) // 8
            d = next(d for d in range(1, 10000) if coordinates(curve, d)[axis] < 1 << (8 * width - 8))
            keys[f"{curve.name}, {axis} with a leading zero"] = ec.derive_private_key(d, curve).public_key()
    keys["ed25519, all ones as seed"] = ed25519.Ed25519PrivateKey.from_private_bytes(b"\1" * 32).public_key()
    return keys


def coordinates(curve, d):
    numbers = ec.derive_private_key(d, curve).public_key().public_numbers()
    return {"x": numbers.x, "y": numbers.y}


def minimal(number):
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def cose_key(key):
    if isinstance(key, ec.EllipticCurvePublicKey):
        numbers, width = key.public_numbers(), (key.curve.key_size + 7) // 8
        curve = {"secp256r1": 1, "secp384r1": 2}[key.curve.name]
        return {1: 2, -1: curve, -2: numbers.x.to_bytes(width, "big"), -3: numbers.y.to_bytes(width, "big")}
    if isinstance(key, ed25519.Ed25519PublicKey):
        return {1: 1, -1: 6, -2: key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)}
    assert isinstance(key, rsa.RSAPublicKey)
    numbers = key.public_numbers()
    return {1: 3, -1: minimal(numbers.n), -2: minimal(numbers.e)}


def spki(key):
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def thumbprint(key):
    """RFC 9679 §3; the keys of `cose_key` have the required parameters alone."""
    return hashlib.sha256(enc(key)).digest()


RFC9679 = {
    1: 2, -1: 1,
    -2: bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d"),
    -3: bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c"),
}
RFC9679_THUMBPRINT = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"


def key_files(keys):
    f = File("cose_key", "Public keys as COSE_Key (SPEC.md §7.6), each accepted one with its thumbprint (§7.7).")
    assert thumbprint(RFC9679).hex() == RFC9679_THUMBPRINT
    f.accept("the example of RFC 9679", RFC9679, thumbprint=RFC9679_THUMBPRINT, key_type="P-256")
    for name, key in keys.items():
        item = cose_key(key)
        check("COSE_Key", item)
        kind = {"secp256r1": "P-256", "secp384r1": "P-384"}[key.curve.name] if isinstance(key, ec.EllipticCurvePublicKey) else \
            f"RSA-{key.key_size}" if isinstance(key, rsa.RSAPublicKey) else "Ed25519"
        f.accept(name, item, thumbprint=thumbprint(item).hex(), key_type=kind)
    modulus = cose_key(keys["rsa-2048"])[-1]
    short = bytes([0x41]) + modulus[1:]
    f.accept("RSA of 2,047 bits", {1: 3, -1: short, -2: b"\3"}, thumbprint=thumbprint({1: 3, -1: short, -2: b"\3"}).hex(), key_type=None)
    small, large = b"\x80" + bytes(126) + b"\1", b"\x80" + bytes(1022) + b"\1"
    for name, n in ("1,024", small), ("8,192", large):
        item = {1: 3, -1: n, -2: b"\x01\x00\x01"}
        f.accept(f"RSA of {name} bits", item, thumbprint=thumbprint(item).hex(), key_type=None)

    ecp, okp, rsap = cose_key(keys["ec-p-256"]), cose_key(keys["ed25519"]), cose_key(keys["rsa-2048"])
    p384 = cose_key(keys["ec-p-384"])
    for name, item in {
        "EC without y": {k: v for k, v in ecp.items() if k != -3},
        "EC with y as sign bit": {**ecp, -3: True},
        "EC with x cut": {**ecp, -2: ecp[-2][1:]},
        "EC with x and y cut": {**ecp, -2: ecp[-2][1:], -3: ecp[-3][1:]},
        "EC with x too long": {**ecp, -2: b"\0" + ecp[-2]},
        "P-256 with the curve of P-384": {**ecp, -1: 2},
        "P-384 with the curve of P-256": {**p384, -1: 1},
        "P-521": {1: 2, -1: 3, -2: bytes(66), -3: bytes(66)},
        "secp256k1": {**ecp, -1: 8},
        "EC with kid": {**ecp, 2: b"kid"},
        "EC with alg": {**ecp, 3: -9},
        "EC with its private part": {**ecp, -4: bytes(32)},
        "EC with the curve as text": {**ecp, -1: "P-256"},
        "EC without kty": {k: v for k, v in ecp.items() if k != 1},
        "kty as text": {**ecp, 1: "EC2"},
        "kty 4, symmetric": {1: 4, -1: bytes(16)},
        "kty 0": {**ecp, 1: 0},
        "Ed25519 with 31 bytes": {**okp, -2: bytes(31)},
        "Ed25519 with 33 bytes": {**okp, -2: bytes(33)},
        "Ed25519 with y": {**okp, -3: bytes(32)},
        "X25519": {**okp, -1: 4},
        "Ed448": {1: 1, -1: 7, -2: bytes(57)},
        "RSA without e": {k: v for k, v in rsap.items() if k != -2},
        "RSA with a leading zero in n": {**rsap, -1: b"\0" + rsap[-1]},
        "RSA with a leading zero in e": {**rsap, -2: b"\0" + rsap[-2]},
        "RSA with an even n": {**rsap, -1: rsap[-1][:-1] + b"\2"},
        "RSA with an even e": {**rsap, -2: b"\2"},
        "RSA with e = 1": {**rsap, -2: b"\1"},
        "RSA with an empty e": {**rsap, -2: b""},
        "RSA with an empty n": {**rsap, -1: b""},
        "RSA with e of 9 bytes": {**rsap, -2: b"\1" + bytes(7) + b"\1"},
        "RSA of 1,016 bits": {**rsap, -1: small[:126] + b"\1"},
        "RSA of 8,200 bits": {**rsap, -1: large[:1024] + b"\1"},
        "RSA with its private exponent": {**rsap, -3: bytes(256)},
        "RSA with e as an integer": {**rsap, -2: 65537},
        "an empty map": {},
        "an array": [2, 1],
    }.items():
        f.reject(name, item, "shape")
    f.reject("EC in the wrong order", unordered(*sorted(ecp.items())), "key-order")
    f.reject("EC with a second kty", unordered((1, 2), (1, 2), (-1, 1), (-2, ecp[-2])), "key-order")
    f.reject("kty in two bytes", Raw(enc(ecp).replace(b"\xa4\x01\x02", b"\xa4\x01\x18\x02")), "not-shortest")
    f.reject("EC cut short", Raw(enc(ecp)[:-1]), "truncated")
    f.reject("EC with a byte behind it", Raw(enc(ecp) + b"\0"), "trailing")
    f.write()

    f = File("spki", "Public keys as SubjectPublicKeyInfo (SPEC.md §7.8), each accepted one as COSE_Key too. The `.pem` files in keys/ were made by openssl.")
    for name, key in keys.items():
        f.accept(name, Raw(spki(key)), cose_key=enc(cose_key(key)).hex())
    der = {name: spki(key) for name, key in keys.items()}
    p256, ed, rsad = der["ec-p-256"], der["ed25519"], der["rsa-2048"]
    compressed = keys["ec-p-256"].public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    p256_algorithm = p256[2:23]

    def info(algorithm, bits, unused=b"\0"):
        inner = algorithm + tlv(3, unused + bits)
        return tlv(0x30, inner)

    def tlv(tag, value):
        n = len(value)
        length = bytes([n]) if n < 128 else bytes([0x80 | len(minimal(n))]) + minimal(n)
        return bytes([tag]) + length + value

    point = p256[-65:]
    rsa_algorithm = bytes.fromhex("300d06092a864886f70d0101010500")
    pkcs1 = rsad[24:]
    assert info(p256_algorithm, point) == p256 and info(rsa_algorithm, pkcs1) == rsad
    p384_algorithm = der["ec-p-384"][2:20]
    for name, data, error in [
        ("nothing", b"", "der"),
        ("cut short", p256[:-1], "der"),
        ("a byte behind it", p256 + b"\0", "der"),
        ("an indefinite length", b"\x30\x80" + p256[2:] + b"\0\0", "der"),
        ("a length in two bytes that fits into one", b"\x30\x81\x59" + p256[2:], "der"),
        ("one unused bit", info(p256_algorithm, point, b"\1"), "der"),
        ("a compressed point", info(p256_algorithm, compressed), "unknown"),
        ("the point at infinity", info(p256_algorithm, b"\0"), "unknown"),
        ("an empty point", info(p256_algorithm, b""), "unknown"),
        ("a hybrid point", info(p256_algorithm, b"\6" + point[1:]), "unknown"),
        ("a point cut short", info(p256_algorithm, point[:-1]), "unknown"),
        ("P-256's point on P-384", info(p384_algorithm, point), "unknown"),
        ("P-384's point on P-256", info(p256_algorithm, der["ec-p-384"][-97:]), "unknown"),
        ("secp256k1", spki(ec.derive_private_key(7, ec.SECP256K1()).public_key()), "unknown"),
        ("P-521", spki(ec.derive_private_key(7, ec.SECP521R1()).public_key()), "unknown"),
        ("EC without a curve", info(bytes.fromhex("300906072a8648ce3d0201"), point), "der"),
        ("EC with explicit parameters", info(bytes.fromhex("300d06072a8648ce3d020130020500"), point), "der"),
        ("Ed25519 with NULL parameters", info(bytes.fromhex("300706032b65700500"), ed[-32:]), "unknown"),
        ("Ed25519 with 31 bytes", info(bytes.fromhex("300506032b6570"), ed[-31:]), "unknown"),
        ("X25519", info(bytes.fromhex("300506032b656e"), ed[-32:]), "unknown"),
        ("RSA without parameters", info(bytes.fromhex("300b06092a864886f70d010101"), pkcs1), "unknown"),
        ("RSA-PSS", info(bytes.fromhex("300b06092a864886f70d01010a"), pkcs1), "unknown"),
        ("RSA with a negative modulus", info(rsa_algorithm, pkcs1.replace(b"\x02\x82\x01\x01\x00", b"\x02\x82\x01\x00", 1).replace(b"\x30\x82\x01\x0a", b"\x30\x82\x01\x09", 1)), "der"),
        ("RSA with a byte behind the key", info(rsa_algorithm, pkcs1 + b"\0"), "der"),
        ("RSA with e = 1", info(rsa_algorithm, tlv(0x30, tlv(2, b"\0" + modulus) + tlv(2, b"\1"))), "unknown"),
        ("RSA with an even n", info(rsa_algorithm, tlv(0x30, tlv(2, b"\0" + modulus[:-1] + b"\2") + tlv(2, b"\3"))), "unknown"),
        ("RSA of 512 bits", info(rsa_algorithm, tlv(0x30, tlv(2, b"\0\x80" + bytes(62) + b"\1") + tlv(2, b"\3"))), "unknown"),
        ("PEM instead of DER", (HERE / "keys/ec-p-256.pem").read_bytes(), "der"),
    ]:
        f.reject(name, Raw(data), error)
    f.write()


# ---- client messages ----

def call(operation, body, call_id=7, **more):
    message = {0: 1, 1: call_id, 2: operation, 3: body}
    if "deadline" in more:
        message[4] = more["deadline"]
    if "wait" in more:
        message[5] = more["wait"]
    return message


OPERATIONS = {
    "sign": 1, "verify": 2, "unwrap": 3, "ecdh": 4, "random": 5, "get-public-key": 6,
    "create": 32, "destroy": 33, "unlock": 34, "lock": 35, "accept-token": 36,
    "list": 64, "describe": 65, "status": 66,
    "encrypt": 7, "decrypt": 8, "generate-data-key": 9, "re-encrypt": 10, "wrap": 11, "mac": 12, "verify-mac": 13,
    "hpke-open": 14, "request-certificate": 15, "attest": 16, "get-attestation-key": 17, "unseal": 18, "import": 37, "rotate": 38, "enable": 39, "disable": 40,
    "mark-compromised": 41, "alias": 42, "tag": 43, "change-pin": 44, "rescan": 45, "backup": 46, "restore": 47,
    "accept-registry": 48, "reseal": 49, "activate-credential": 50, "adopt": 51, "export": 52, "get-certificate": 19, "change-puk": 53, "unblock-pin": 54, "new-management-key": 55,
    "reset-token": 56, "write-certificate": 57, "subscribe": 67, "absorb": 68,
}


def hello_file():
    f = File("hello", "hello of a client, welcome of an agent (SPEC.md §5.1). `same`: encoding it again gives the same bytes.")
    hello = {0: 0, 1: 1, 2: 1, 3: [], 4: "test 1.0"}
    welcome = {0: 0, 1: 1, 2: [], 3: "keywardd 0.1.0", 4: 65536}
    for side, name, item, same in [
        ("client", "a plain hello", hello, True),
        ("client", "a hello with all fields", {**hello, 2: 3, 3: ["events", "x"], 5: 1 << 20}, True),
        ("client", "a hello of a newer client", {**hello, 2: 9, 6: {0: "new"}, 1000: True}, False),
        ("client", "a hello of only newer versions", {**hello, 1: 2, 2: 9}, True),
        ("client", "a range the wrong way round (answered `version`)", {**hello, 1: 3, 2: 1}, True),
        ("client", "the largest numbers", {**hello, 2: 2**32 - 1, 5: 2**32 - 1}, True),
        ("server", "a plain welcome", welcome, True),
        ("server", "a welcome with a feature and a large frame", {**welcome, 2: ["events"], 4: 1 << 20}, True),
        ("server", "a welcome of a newer agent", {**welcome, 5: [1, 2], 24: b"x"}, False),
    ]:
        check("hello" if side == "client" else "welcome", item)
        f.accept(name, item, side=side, same=same)

    def without(item, key):
        return {k: v for k, v in item.items() if k != key}

    for side, name, item, error in [
        ("client", "without oldest", without(hello, 1), "shape"),
        ("client", "without newest", without(hello, 2), "shape"),
        ("client", "without features", without(hello, 3), "shape"),
        ("client", "without software", without(hello, 4), "shape"),
        ("client", "without kind", without(hello, 0), "shape"),
        ("client", "oldest as text", {**hello, 1: "1"}, "shape"),
        ("client", "oldest below 0", {**hello, 1: -1}, "shape"),
        ("client", "newest of 2^32", {**hello, 2: 2**32}, "shape"),
        ("client", "features as text", {**hello, 3: "events"}, "shape"),
        ("client", "a feature as bytes", {**hello, 3: [b"events"]}, "shape"),
        ("client", "max_frame of 2^32", {**hello, 5: 2**32}, "shape"),
        ("client", "max_frame as null", {**hello, 5: None}, "unsupported"),
        ("client", "kind as text", {**hello, 0: "0"}, "shape"),
        ("client", "an array", [0, 1, 1, [], "x"], "shape"),
        ("client", "an empty map", {}, "shape"),
        ("client", "in the wrong order", unordered((1, 1), (0, 0), (2, 1), (3, []), (4, "x")), "key-order"),
        ("client", "a field twice", unordered((0, 0), (1, 1), (1, 2), (2, 1), (3, []), (4, "x")), "key-order"),
        ("client", "with a tag", {**hello, 6: cbor2.CBORTag(55799, 0)}, "unsupported"),
        ("server", "without version", without(welcome, 1), "shape"),
        ("server", "a welcome without max_frame", without(welcome, 4), "shape"),
        ("server", "a version as text", {**welcome, 1: "1"}, "shape"),
        ("server", "a welcome that is a hello", hello, "shape"),
        ("server", "a welcome with a float", {**welcome, 5: 1.5}, "unsupported"),
    ]:
        f.reject(name, item, error, side=side)
    f.write()


def request_file(keys):
    f = File("requests", "Calls and cancels of a client (SPEC.md §5.2, §5.3, §6). `answer` is what a refused one is answered: the code, and the id unless the connection is closed.")
    peer = cose_key(keys["ec-p-256"])
    digest = hashlib.sha256(b"abc").digest()
    good = {
        "sign": [("shortest", {0: "k", 2: [1, b""]}), ("all fields", {0: UUID, 1: -9, 2: [1, b"abc"]}), ("digest", {0: "k", 1: -257, 2: [2, digest]})],
        "verify": [("shortest", {0: "k", 2: [1, b"abc"], 3: bytes(64)}), ("all fields", {0: "k", 1: -19, 2: [2, digest], 3: bytes(range(64)), 4: 2})],
        "unwrap": [("shortest", {0: "k", 2: bytes(256)}), ("all fields", {0: "k", 1: -41, 2: bytes(range(256)), 3: b"label", 4: 3})],
        "ecdh": [("shortest", {0: "k", 1: peer}), ("all fields", {0: "k", 1: peer, 2: {0: -65538, 1: b"salt", 2: b"info", 3: 32}, 3: 1}),
                 ("short kdf", {0: "k", 1: peer, 2: {0: -65539, 3: 48}})],
        "random": [("shortest", {0: 32}), ("all fields", {0: 1024, 1: "main"})],
        "get-public-key": [("shortest", {0: "k"}), ("all fields", {0: "k", 1: 4})],
        "create": [("shortest", {0: 3, 1: 4}), ("all fields", {0: 1, 1: 1, 2: "web", 3: "main", 4: [1, 2], 5: {"b": "2", "aa": "1", "": "é"}, 6: {0: [7, 11], 1: "rescue", 2: False}}),
                   ("empty lists", {0: 2, 1: 2, 4: [], 5: {}}),
                   ("in a slot of a card", {0: 1, 1: 1, 7: {0: 0x9a, 1: 2, 2: 3}}), ("on a card", {0: 1, 1: 1, 7: {}})],
        "destroy": [("all fields", {0: "k", 1: True}), ("not now", {0: "k", 1: False})],
        "unlock": [("shortest", {2: False}), ("all fields", {0: "main", 1: b"1234", 2: True})],
        "lock": [("shortest", {}), ("all fields", {0: "main"})],
        "accept-token": [("all fields", {0: "main"})],
        "list": [("shortest", {}), ("all fields", {0: UUID})],
        "describe": [("all fields", {0: "k"})],
        "status": [("shortest", {})],
        "encrypt": [("shortest", {0: "k", 1: b"x"}), ("all fields", {0: "k", 1: b"plain", 2: CONTEXT, 3: 3})],
        "decrypt": [("shortest", {0: b"\xd0"}), ("all fields", {0: bytes(range(40)), 1: "k", 2: CONTEXT})],
        "generate-data-key": [("shortest", {0: "k", 3: False}), ("all fields", {0: "k", 1: CONTEXT, 2: 16, 3: True})],
        "re-encrypt": [("shortest", {0: b"\xd0"}), ("all fields", {0: bytes(range(40)), 1: "old", 2: {"a": "1"}, 3: "new", 4: CONTEXT})],
        "wrap": [("shortest", {0: "k", 2: bytes(16)}), ("all fields", {0: "k", 1: -65541, 2: bytes(range(24))})],
        "mac": [("all fields", {0: "k", 1: b"message"})],
        "verify-mac": [("shortest", {0: "k", 1: b"", 2: bytes(32)}), ("all fields", {0: "k", 1: b"message", 2: bytes(range(48)), 3: 2})],
        "hpke-open": [("shortest", {0: "k", 2: bytes(65), 3: bytes(16)}),
                      ("all fields", {0: "k", 1: 35, 2: bytes(range(65)), 3: bytes(range(20)), 4: b"info", 5: b"aad", 6: 1})],
        "request-certificate": [("shortest", {0: "k", 2: "", 3: []}),
                                ("all fields", {0: "k", 1: -9, 2: "CN=example.org", 3: [[1, "example.org"], [2, "a@example.org"],
                                                [3, "https://example.org"], [4, bytes([192, 0, 2, 1])], [4, bytes(range(16))]]})],
        "attest": [("shortest", {0: "k", 1: bytes(16)}), ("all fields", {0: "k", 1: bytes(range(32)), 2: 1})],
        "get-attestation-key": [("shortest", {}), ("all fields", {0: "main"})],
        "activate-credential": [("shortest", {1: b""}), ("all fields", {0: "main", 1: bytes(range(40))})],
        "unseal": [("all fields", {0: "k"})],
        "adopt": [("shortest", {0: 1, 1: "0x81000010"}), ("all fields", {0: 1, 1: "9a", 2: "web", 3: "main", 4: [1, 2], 5: {"b": "2", "aa": "1"}, 6: 1})],
        "import": [("shortest", {0: 1, 1: [1, b"0"]}),
                   ("all fields", {0: 4, 1: [2, 8, bytes(range(32))], 2: "web", 3: ["main", "spare"], 4: [1], 5: {"b": "2", "aa": "1"}, 6: "k", 7: {0: [7, 11], 1: "rescue", 2: False}}),
                   ("data", {0: 7, 1: [2, 12, bytes(range(40))]}), ("bound in one place", {0: 1, 1: [1, b"0"], 3: ["chip", "hsm"], 7: {0: [7], 2: False}}),
                   ("PKCS#8", {0: 1, 1: [1, bytes(range(48))], 3: []}), ("for a card", {0: 1, 1: [1, b"0"], 8: {0: 0x82, 2: 1}}), ("the file of a TPM's key", {0: 1, 1: [3, b"-----BEGIN TSS2 PRIVATE KEY-----"]})],
        "rotate": [("all fields", {0: "k"})],
        "enable": [("all fields", {0: "k"})],
        "disable": [("all fields", {0: "k"})],
        "mark-compromised": [("all fields", {0: "k"})],
        "alias": [("shortest", {0: "k", 1: [], 2: []}), ("all fields", {0: "k", 1: ["web", "www"], 2: ["old"]})],
        "tag": [("shortest", {0: "k", 1: {}, 2: []}), ("all fields", {0: "k", 1: {"b": "2", "aa": "1"}, 2: ["old"]})],
        "change-pin": [("shortest", {1: b"1234", 2: b"123456", 3: False}), ("all fields", {0: "main", 1: b"1234", 2: b"123456", 3: True})],
        "rescan": [("shortest", {}), ("all fields", {0: "main"})],
        "backup": [("all fields", {0: 2**40})],
        "restore": [("all fields", {0: 49152, 1: b"part", 2: 49156, 3: bytes(range(32)), 4: True})],
        "accept-registry": [("shortest", {})],
        "export": [("shortest", {0: "k"}), ("all fields", {0: "k", 1: 2, 2: "main"})],
        "get-certificate": [("shortest", {0: "k"}), ("all fields", {0: "k", 1: 2})],
        "change-puk": [("shortest", {1: b"12345678", 2: b"87654321", 3: False}), ("all fields", {0: "card", 1: b"12345678", 2: b"87654321", 3: True})],
        "unblock-pin": [("shortest", {1: b"12345678", 2: b"654321", 3: False}), ("all fields", {0: "card", 1: b"12345678", 2: b"654321", 3: True})],
        "new-management-key": [("shortest", {}), ("all fields", {0: "card"})],
        "reset-token": [("all fields", {0: "card", 1: "12345678"})],
        "write-certificate": [("all fields", {0: "k", 1: bytes(range(40))}), ("none", {0: "k", 1: b""})],
        "reseal": [("shortest", {0: "k", 2: False}), ("all fields", {0: "k", 1: bytes(range(32)), 2: True})],
        "subscribe": [("shortest", {})],
        "absorb": [("all fields", {0: 3, 1: 2**40, 2: b"part"})],
    }
    f.accept("sign, stream", call(1, {0: "k", 2: [3, 2**32 - 1]}), operation="sign", id=7)
    for operation, bodies in good.items():
        number = OPERATIONS[operation]
        for name, body in bodies:
            check(operation, body)
            f.accept(f"{operation}, {name}", call(number, body), operation=operation, id=7)
    f.accept("an id of 0, a deadline of 0", call(66, {}, 0, deadline=0), operation="status", id=0, deadline=0)
    f.accept("the largest id and deadline", call(66, {}, 2**64 - 1, deadline=2**32 - 1), operation="status", id=2**64 - 1, deadline=2**32 - 1)
    f.accept("a use that waits", call(1, {0: "k", 2: [1, b"m"]}, wait=True, deadline=60000), operation="sign", id=7, deadline=60000, wait=True)
    f.accept("one that waits without deadline", call(1, {0: "k", 2: [1, b"m"]}, wait=True), operation="sign", id=7, wait=True)
    f.accept("cancel", {0: 2, 1: 7}, id=7)
    f.accept("cancel of the largest id", {0: 2, 1: 2**64 - 1}, id=2**64 - 1)
    long_text = "é" * 1000
    f.accept("a long text", call(65, {0: long_text}), operation="describe", id=7)

    def refused(name, data, code="malformed", call_id=7):
        f.reject(name, data, code, id=call_id)

    for number in (0, 20, 31, 58, 63, 69, 1000, 2**32 - 1):
        refused(f"operation {number}", call(number, {}), "unsupported")
    refused("an unknown operation with any body", call(99, [1, {"x": b"y"}]), "unsupported")
    # Bodies: the id is known, the connection goes on.
    for operation, bodies in good.items():
        number, full = OPERATIONS[operation], bodies[-1][1] if operation not in ("sign", "ecdh", "create", "import") else bodies[1][1]
        refused(f"{operation} with an unknown field", call(number, {**full, 23: 0}))
        refused(f"{operation} with a text key", call(number, {**full, "x": 0}))
        refused(f"{operation} with an array as body", call(number, [1]))
        for key in bodies[0][1]:
            refused(f"{operation} without field {key}", call(number, {k: v for k, v in full.items() if k != key}))
        for key, value in full.items():
            wrong = 7 if isinstance(value, (str, bytes, list, dict, bool)) else "7"
            refused(f"{operation} with field {key} of the wrong type", call(number, {**full, key: wrong}))
    for name, operation, body in [
        ("sign with an unknown algorithm", 1, {0: "k", 1: -8, 2: [1, b""]}),
        ("sign with the algorithm's name", 1, {0: "k", 1: "ESP256", 2: [1, b""]}),
        ("sign with form 0", 1, {0: "k", 2: [0, b""]}),
        ("sign with bytes as stream", 1, {0: "k", 2: [3, b""]}),
        ("sign with a stream below 0", 1, {0: "k", 2: [3, -1]}),
        ("sign with a stream of 2^32", 1, {0: "k", 2: [3, 2**32]}),
        ("sign with form 4", 1, {0: "k", 2: [4, b""]}),
        ("encrypt with a number in its context", 7, {0: "k", 1: b"x", 2: {"a": 1}}),
        ("encrypt with a context under a number", 7, {0: "k", 1: b"x", 2: {1: "a"}}),
        ("encrypt with a text as plaintext", 7, {0: "k", 1: "x"}),
        ("decrypt with a context as list", 8, {0: b"x", 2: ["a", "1"]}),
        ("generate-data-key with a length of 2^32", 9, {0: "k", 2: 2**32, 3: True}),
        ("generate-data-key with 1 as bool", 9, {0: "k", 3: 1}),
        ("request-certificate with an unknown kind of name", 15, {0: "k", 2: "", 3: [[5, "x"]]}),
        ("request-certificate with an address of 5 bytes", 15, {0: "k", 2: "", 3: [[4, bytes(5)]]}),
        ("request-certificate with an address as text", 15, {0: "k", 2: "", 3: [[4, "192.0.2.1"]]}),
        ("request-certificate with a name alone", 15, {0: "k", 2: "", 3: [["example.org"]]}),
        ("request-certificate with three items in a name", 15, {0: "k", 2: "", 3: [[1, "a", "b"]]}),
        ("attest with a text as nonce", 16, {0: "k", 1: "0011223344556677"}),
        ("activate-credential with a text as challenge", 50, {1: "x"}),
        ("import with an unknown kind of material", 37, {0: 1, 1: [4, b"x"]}),
        ("import with material as text", 37, {0: 1, 1: [1, "x"]}),
        ("import with a secret without its type", 37, {0: 4, 1: [2, b"x"]}),
        ("import with a secret of an unknown type", 37, {0: 4, 1: [2, 13, b"x"]}),
        ("import bound to a PCR of two bytes", 37, {0: 1, 1: [1, b"x"], 7: {0: [256], 2: True}}),
        ("import bound to nothing said", 37, {0: 1, 1: [1, b"x"], 7: {0: [7]}}),
        ("unseal with bytes as key", 18, {0: b"k"}),
        ("adopt with a number as place", 51, {0: 1, 1: 0x81000010}),
        ("adopt with key type 0", 51, {0: 1, 1: "9a", 6: 0}),
        ("import with PKCS#8 and a type", 37, {0: 1, 1: [1, 1, b"x"]}),
        ("import with a number as token", 37, {0: 1, 1: [1, b"x"], 3: [1]}),
        ("alias with a number as name", 42, {0: "k", 1: [1], 2: []}),
        ("tag with a number as value", 43, {0: "k", 1: {"a": 1}, 2: []}),
        ("change-pin with a text as PIN", 44, {1: "1234", 2: b"1", 3: False}),
        ("backup below 0", 46, {0: -1}),
        ("restore with a digest of 31 bytes", 47, {0: 0, 1: b"", 2: 0, 3: bytes(31), 4: False}),
        ("restore with a digest of 33 bytes", 47, {0: 0, 1: b"", 2: 0, 3: bytes(33), 4: False}),
        ("change-puk with a text as PUK", 53, {1: "12345678", 2: b"1", 3: False}),
        ("reset-token with a number as serial", 56, {0: "card", 1: 12345678}),
        ("write-certificate with PEM as text", 57, {0: "k", 1: "-----BEGIN CERTIFICATE-----"}),
        ("absorb with a stream of 2^32", 68, {0: 2**32, 1: 0, 2: b""}),
        ("sign with a form alone", 1, {0: "k", 2: [1]}),
        ("sign with three items", 1, {0: "k", 2: [1, b"", b""]}),
        ("sign with a text as message", 1, {0: "k", 2: [1, "abc"]}),
        ("ecdh with a private peer", 4, {0: "k", 1: {**peer, -4: bytes(32)}}),
        ("ecdh with a kid in the peer", 4, {0: "k", 1: {**peer, 2: b"kid"}}),
        ("ecdh with an unknown field in the kdf", 4, {0: "k", 1: peer, 2: {0: -65538, 3: 32, 4: 0}}),
        ("ecdh with a kdf without length", 4, {0: "k", 1: peer, 2: {0: -65538}}),
        ("random below 0", 5, {0: -1}),
        ("random of 2^32", 5, {0: 2**32}),
        ("create with purpose 0", 32, {0: 0, 1: 1}),
        ("create with purpose 8", 32, {0: 8, 1: 1}),
        ("create with key type 13", 32, {0: 1, 1: 13}),
        ("create in a slot of 256", 32, {0: 1, 1: 1, 7: {0: 256}}),
        ("create in a slot by name", 32, {0: 1, 1: 1, 7: {0: "9a"}}),
        ("create with PIN policy 0", 32, {0: 1, 1: 1, 7: {1: 0}}),
        ("create with PIN policy 4", 32, {0: 1, 1: 1, 7: {1: 4}}),
        ("create with touch policy 4", 32, {0: 1, 1: 1, 7: {2: 4}}),
        ("create with an unknown choice", 32, {0: 1, 1: 1, 7: {3: 1}}),
        ("import with touch policy 0", 37, {0: 1, 1: [1, b"0"], 8: {2: 0}}),
        ("create with format 7", 32, {0: 1, 1: 1, 4: [7]}),
        ("create with a number as tag", 32, {0: 1, 1: 1, 5: {"a": 1}}),
        ("create with a tag under a number", 32, {0: 1, 1: 1, 5: {1: "a"}}),
        ("unlock with a text as PIN", 34, {1: "1234", 2: False}),
        ("version above 2^32", 6, {0: "k", 1: 2**32}),
    ]:
        refused(name, call(operation, body))
    # The header: nobody can be answered, so the connection is closed.
    base = call(66, {})
    for name, message in [
        ("a call without id", {k: v for k, v in base.items() if k != 1}),
        ("a call without operation", {k: v for k, v in base.items() if k != 2}),
        ("a call without body", {k: v for k, v in base.items() if k != 3}),
        ("a call without kind", {k: v for k, v in base.items() if k != 0}),
        ("a call with an unknown field", {**base, 6: 0}),
        ("a call that waits for a number of seconds", {**base, 5: 60}),
        ("a call that waits for null", {**base, 5: None}),
        ("a call with a text key", {**base, "deadline": 5}),
        ("a call with an id below 0", {**base, 1: -1}),
        ("a call with a text as id", {**base, 1: "7"}),
        ("an operation of 2^32", {**base, 2: 2**32}),
        ("an operation by name", {**base, 2: "status"}),
        ("a deadline of 2^32", {**base, 4: 2**32}),
        ("a deadline of null", {**base, 4: None}),
        ("a null in a body", call(64, {0: None})),
        ("an event from a client", {0: 3, 2: {0: 1}}),
        ("kind 4", {0: 4, 1: 7}),
        ("kind 2^32", {0: 2**32, 1: 7}),
        ("a kind below 0", {0: -1, 1: 7}),
        ("a cancel without id", {0: 2}),
        ("a cancel with an unknown field", {0: 2, 1: 7, 2: 0}),
        ("a cancel with a text as id", {0: 2, 1: "7"}),
        ("an array instead of a call", [1, 7, 66, {}]),
        ("a number instead of a call", 1),
        ("a call with its fields in the wrong order", unordered((0, 1), (2, 66), (1, 7), (3, {}))),
        ("a body twice", unordered((0, 1), (1, 7), (2, 66), (3, {}), (3, {}))),
        ("a body with its fields in the wrong order", call(1, unordered((2, [1, b""]), (0, "k")))),
        ("tags in the order of their text", call(32, {0: 1, 1: 1, 5: unordered(("aa", "1"), ("b", "2"))})),
        ("a tag twice", call(32, {0: 1, 1: 1, 5: unordered(("a", "1"), ("a", "2"))})),
        ("an id in nine bytes that fits into one", {**base, 1: Raw(bytes.fromhex("1b0000000000000007"))}),
        ("a key name that is not UTF-8", call(65, {0: Raw(b"\x61\xff")})),
        ("a body nested 16 deep", call(99, Raw(nested(16)))),
        ("a call and a byte", Raw(enc(base) + b"\0")),
        ("a call cut short", Raw(enc(call(65, {0: "key"}))[:-1])),
        ("two calls in one frame", Raw(enc(base) * 2)),
        ("nothing", Raw(b"")),
        ("4 GiB of message", Raw(bytes.fromhex("a4000101070201 03a20061 6b0282015affffffff".replace(" ", "")))),
    ]:
        refused(name, message, call_id=None)
    f.write()


# ---- server messages ----

def reply(body, call_id=7):
    return {0: 1, 1: call_id, 2: body}


OPTIONAL = {("status", 7), ("generate-data-key", 0), ("backup", 1), ("restore", 4), ("destroy", 0)}


def reply_file(keys):
    f = File("replies", "Replies of an agent (SPEC.md §6), each with the operation that it answers. `same`: encoding it again gives the same bytes. A reject with `body` true is a message that is right with a body that is not: the client fails that call alone (§5.7).")
    key = keys["ec-p-256"]
    item = cose_key(key)
    version = {0: 1, 1: 2, 2: 1700000000, 3: thumbprint(item), 4: [{0: "main", 1: "pkcs11:token=main", 2: True, 3: True, 4: True}], 5: UUID}
    secret = {k: v for k, v in version.items() if k != 3}
    description = {0: UUID, 1: ["web"], 2: 1, 3: 1, 4: 2, 5: [-9], 6: [1, 2], 7: {"b": "2", "aa": "1"}, 8: 1700000000, 9: [version]}
    summary = {0: UUID, 1: [], 2: 3, 3: 4, 4: 2, 5: ["main"]}
    token = {0: "main", 1: "pkcs11", 2: 3, 3: "SoftHSM project SoftHSM v2 0123", 4: "-", 5: 0, 6: 2**40, 7: 4711, 8: 1000}
    status = {0: "keywardd 0.1.0", 1: "user", 2: 1700000000, 3: [token], 4: [{0: "agent landlock", 1: True, 2: "ABI 6"}, {0: "pidfd", 1: False}], 5: 1, 6: 2, 7: "why", 8: 3}
    good = {
        ("sign", "signature"): [("P-256", {0: bytes(64), 1: -9, 2: UUID, 3: 1})],
        ("verify", "verified"): [("valid", {0: True, 1: 1}), ("not valid", {0: False, 1: 2})],
        ("unwrap", "unwrapped"): [("32 bytes", {0: bytes(range(32)), 1: UUID, 2: 1}), ("nothing inside", {0: b"", 1: UUID, 2: 1})],
        ("ecdh", "shared-secret"): [("32 bytes", {0: bytes(range(32)), 1: UUID, 2: 1})],
        ("random", "random-bytes"): [("32 bytes", {0: bytes(range(32)), 1: "main"})],
        ("get-public-key", "public-key"): [("P-256", {0: item, 1: spki(key), 2: thumbprint(item), 3: UUID, 4: 1})],
        ("create", "key-description"): [("a new key", description)],
        ("destroy", "destroyed"): [("overwritten in a token", {0: ["card"]}), ("removed", {})],
        ("unlock", "done"): [("done", {})],
        ("lock", "done"): [("done", {})],
        ("accept-token", "done"): [("done", {})],
        ("list", "key-list"): [("none", {0: []}), ("a page", {0: [summary, summary], 1: UUID})],
        ("describe", "key-description"): [("a key", description), ("a key without versions", {**description, 1: [], 6: [], 7: {}, 9: []}), ("a key that is being destroyed", {**description, 10: "it waits for the token spare"}),],
        ("encrypt", "encrypted"): [("a ciphertext", {0: bytes(range(40)), 1: UUID, 2: 1})],
        ("decrypt", "decrypted"): [("32 bytes", {0: bytes(range(32)), 1: UUID, 2: 1}), ("nothing inside", {0: b"", 1: UUID, 2: 2})],
        ("generate-data-key", "data-key"): [("with its plaintext", {0: bytes(range(32)), 1: bytes(range(40)), 2: UUID, 3: 1}),
                                            ("without its plaintext", {1: bytes(range(40)), 2: UUID, 3: 1})],
        ("re-encrypt", "re-encrypted"): [("a ciphertext", {0: bytes(range(40)), 1: UUID, 2: 2, 3: UUID, 4: 1})],
        ("wrap", "wrapped"): [("24 bytes", {0: bytes(range(24)), 1: -65541, 2: UUID, 3: 1})],
        ("mac", "mac-tag"): [("32 bytes", {0: bytes(range(32)), 1: 5, 2: UUID, 3: 1})],
        ("request-certificate", "certificate-request"): [("DER", {0: bytes(range(40)), 1: UUID, 2: 1})],
        ("attest", "attested"): [("a bundle", {0: bytes(range(40)), 1: UUID, 2: 1})],
        ("get-attestation-key", "token-attestation-key"): [("a document", {0: bytes(range(40)), 1: "main"})],
        ("activate-credential", "activated-credential"): [("32 bytes", {0: bytes(range(32))})],
        ("unseal", "unsealed"): [("40 bytes", {0: bytes(range(40)), 1: UUID, 2: 1})],
        ("adopt", "key-description"): [("an adopted key", {**description, 9: [{**version, 4: [{0: "chip", 1: "tpm:handle=0x81000010;name=00", 2: True, 3: True, 4: True}]}]})],
        ("rescan", "rescanned"): [("all fields", {0: [{0: UUID, 1: 1, 2: 4, 3: 8}], 1: 2, 2: 2**40, 3: ["why"], 4: [UUID]}),
                                  ("nothing", {0: [], 1: 0, 2: 0, 3: [], 4: []})],
        ("backup", "backup-part"): [("a part", {0: b"part", 1: 2**40, 2: 2**41}), ("the last part", {0: b"", 2: 0})],
        ("get-certificate", "card-certificate"): [("all fields", {0: bytes(range(40)), 1: "card", 2: 1})],
        ("export", "exported"): [("all fields", {0: "-----BEGIN TSS2 PRIVATE KEY-----", 1: "main", 2: 1, 3: 0x81000001})],
        ("restore", "restored"): [("done", {0: True, 1: 3, 2: 4, 3: ["alias web"], 4: ["web on chip: PCRs 7, 11"]}), ("a part", {0: False, 1: 0, 2: 0, 3: []})],
        ("reseal", "resealed"): [("all fields", {0: UUID, 1: [{0: 1, 1: "main", 2: [{0: 7, 1: bytes(32), 2: bytes(range(32))}], 3: 2, 4: False, 5: UUID}], 2: bytes(range(32)), 3: True}),
                                 ("a look", {0: UUID, 1: [{0: 1, 1: "main", 2: [], 3: 1, 4: True}], 2: bytes(32), 3: False})],
        ("absorb", "absorbed"): [("a length", {0: 2**40})],
        ("status", "status-report"): [("all fields", status), ("without tokens", {k: v for k, v in {**status, 3: [], 4: []}.items() if k != 7})],
    }
    for (operation, rule), bodies in good.items():
        for name, body in bodies:
            check(rule, body)
            f.accept(f"{operation}: {name}", reply(body), operation=operation, id=7, same=True)
        full = bodies[0][1]
        f.accept(f"{operation}: a newer agent's body", reply({**full, 23: "new", 300: [1]}), operation=operation, id=7, same=False)
        for key_number, value in full.items():
            wrong = 7 if isinstance(value, (str, bytes, list, dict, bool)) else "7"
            f.reject(f"{operation}: field {key_number} of the wrong type", reply({**full, key_number: wrong}), "shape", operation=operation, body=True)
        for key_number in full:
            if (operation, key_number) in OPTIONAL:
                continue
            f.reject(f"{operation}: without field {key_number}", reply({k: v for k, v in full.items() if k != key_number}), "shape", operation=operation, body=True)
    # pycddl compares the items of an array with the first alternative of a choice of numbers alone.
    bound = {0: "tpm", 1: "tpm:name=00", 2: True, 3: True, 4: True, 5: {0: [7, 11], 1: bytes(range(32)), 2: UUID}}
    lost = {**bound, 5: {0: [0]}}
    f.accept("describe: a bound key", reply({**description, 9: [{**version, 4: [bound, lost]}]}), operation="describe", id=7, same=True)
    f.accept("describe: a secret key", reply({**description, 2: 4, 3: 8, 5: [3], 6: [], 9: [secret]}), operation="describe", id=7, same=True)
    f.accept("describe: sealed data", reply({**description, 2: 7, 3: 12, 5: [], 6: [], 9: [secret]}), operation="describe", id=7, same=True)
    f.accept("a newer agent's reply", {**reply({}), 9: "new"}, operation="lock", id=7, same=False)
    f.accept("a newer agent's placement", reply({**description, 9: [{**version, 4: [{0: "main", 1: "x", 2: True, 3: True, 4: True, 9: "new"}]}]}), operation="describe", id=7, same=False)
    for name, operation, body in [
        ("an unknown state", "list", {0: [{**summary, 4: 7}]}),
        ("an unknown login state", "status", {**status, 3: [{**token, 2: 6}]}),
        ("a thumbprint of 31 bytes", "get-public-key", {0: item, 1: spki(key), 2: bytes(31), 3: UUID, 4: 1}),
        ("a public key with a kid", "get-public-key", {0: {**item, 2: b"x"}, 1: spki(key), 2: thumbprint(item), 3: UUID, 4: 1}),
        ("a signature as text", "sign", {0: "x", 1: -9, 2: UUID, 3: 1}),
        ("an array as body", "lock", []),
    ]:
        f.reject(name, reply(body), "shape", operation=operation, body=True)
    for name, data, error in [
        ("a reply without id", {0: 1, 2: {}}, "shape"),
        ("a reply without body", {0: 1, 1: 7}, "shape"),
        ("a reply with a text as id", {0: 1, 1: "7", 2: {}}, "shape"),
        ("a reply of kind 4", {0: 4, 1: 7, 2: {}}, "shape"),
        ("a reply with a text key", {**reply({}), "x": 1}, "shape"),
        ("a reply with null", reply({0: None}), "unsupported"),
        ("a reply in the wrong order", unordered((0, 1), (2, {}), (1, 7)), "key-order"),
        ("a reply and a byte", Raw(enc(reply({})) + b"\0"), "trailing"),
        ("nothing", Raw(b""), "truncated"),
    ]:
        f.reject(name, data, error, operation="lock", body=False)
    f.write()


def failure_file():
    f = File("failures", "Failures of an agent (SPEC.md §5.4, §8). An unknown code is taken as `internal`.")
    names = ["malformed", "version", "unsupported", "too-large", "invalid", "busy", "not-found", "denied", "exists",
             "wrong-purpose", "wrong-state", "format-not-allowed", "mechanism-invalid", "token-absent", "token-changed",
             "token-locked", "pin-incorrect", "pin-blocked", "pin-withheld", "unwrap-failed", "token-failed",
             "deadline-exceeded", "cancelled", "audit-unavailable", "registry-mismatch", "shutting-down", "internal", "token-full", "pcr-mismatch", "touch-missed"]
    for number, name in enumerate(names, 1):
        body = {0: number, 1: f"{name}."}
        check("failure", {0: 2, 1: 7, 2: body})
        f.accept(name, {0: 2, 1: 7, 2: body}, code=name, id=7, same=True)
    body = {0: 16, 1: "the token main is locked", 2: "keyward unlock main", 3: "01J"}
    f.accept("all fields", {0: 2, 1: 2**64 - 1, 2: body}, code="token-locked", id=2**64 - 1, same=True)
    f.accept("of the connection", {0: 2, 2: {0: 4, 1: "too large"}}, code="too-large", id=None, same=True)
    f.accept("a newer agent's code", {0: 2, 1: 7, 2: {0: 4000, 1: "new"}}, code="internal", id=7, same=False)
    f.accept("a newer agent's fields", {0: 2, 1: 7, 2: {0: 7, 1: "no", 9: [1]}, 9: 1}, code="not-found", id=7, same=False)
    for name, item, error in [
        ("without body", {0: 2, 1: 7}, "shape"),
        ("without code", {0: 2, 1: 7, 2: {1: "x"}}, "shape"),
        ("without message", {0: 2, 1: 7, 2: {0: 7}}, "shape"),
        ("a code by name", {0: 2, 1: 7, 2: {0: "busy", 1: "x"}}, "shape"),
        ("a code below 0", {0: 2, 1: 7, 2: {0: -7, 1: "x"}}, "shape"),
        ("a code of 2^32", {0: 2, 1: 7, 2: {0: 2**32, 1: "x"}}, "shape"),
        ("a message as bytes", {0: 2, 1: 7, 2: {0: 7, 1: b"x"}}, "shape"),
        ("a hint as a list", {0: 2, 1: 7, 2: {0: 7, 1: "x", 2: ["y"]}}, "shape"),
        ("a hint of null", {0: 2, 1: 7, 2: {0: 7, 1: "x", 2: None}}, "unsupported"),
        ("a text as id", {0: 2, 1: "7", 2: {0: 7, 1: "x"}}, "shape"),
        ("an id below 0", {0: 2, 1: -7, 2: {0: 7, 1: "x"}}, "shape"),
        ("an array as body", {0: 2, 1: 7, 2: [7, "x"]}, "shape"),
        ("no map", [2, 7, {0: 7, 1: "x"}], "shape"),
        ("an empty map", {}, "shape"),
        ("a body in the wrong order", {0: 2, 1: 7, 2: unordered((1, "x"), (0, 7))}, "key-order"),
        ("a message that is not UTF-8", {0: 2, 1: 7, 2: {0: 7, 1: Raw(b"\x61\xff")}}, "utf8"),
        ("cut short", Raw(enc({0: 2, 1: 7, 2: {0: 7, 1: "xyz"}})[:-2]), "truncated"),
        ("an indefinite body", {0: 2, 1: 7, 2: Raw(bytes.fromhex("bf000701 6178ff".replace(" ", "")))}, "indefinite"),
    ]:
        f.reject(name, item, error)
    f.accept("code 0", {0: 2, 1: 7, 2: {0: 0, 1: "x"}}, code="internal", id=7, same=False)
    f.write()


def event_file():
    f = File("events", "Events of an agent (SPEC.md §5.5). `kind` null: one that version 1 does not know, to be ignored.")
    names = ["touch-needed", "touch-done", "token-inserted", "token-removed", "key-state-changed",
             "token-unlocked", "token-locked", "token-changed", "key-created", "key-destroyed", "lost"]
    for number, name in enumerate(names, 1):
        check("event", {0: 3, 2: {0: number}})
        f.accept(name, {0: 3, 2: {0: number}}, kind=name, same=True)
    f.accept("all fields", {0: 3, 2: {0: 1, 1: "main", 2: UUID}}, kind="touch-needed", same=True)
    caller = {0: 1000, 1: 4711, 2: "web.service", 3: "/usr/bin/ssh"}
    touch = {0: 1, 1: "card", 2: UUID, 4: 1, 5: caller}
    check("event", {0: 3, 2: touch})
    f.accept("a touch, with who asks for what", {0: 3, 2: touch}, kind="touch-needed", same=True)
    f.accept("a touch of a caller that can't be seen", {0: 3, 2: {**touch, 5: {0: 0}}}, kind="touch-needed", same=True)
    f.accept("a newer agent's caller", {0: 3, 2: {**touch, 5: {**caller, 4: "x"}}}, kind="touch-needed", same=False)
    f.accept("lost, with their count", {0: 3, 2: {0: 11, 3: 2**40}}, kind="lost", same=True)
    f.accept("a newer agent's event", {0: 3, 2: {0: 99, 1: "main"}}, kind=None, same=True)
    f.accept("a newer agent's field", {0: 3, 2: {0: 3, 9: 0}}, kind="token-inserted", same=False)
    for name, item, error in [
        ("without body", {0: 3}, "shape"),
        ("without kind", {0: 3, 2: {1: "main"}}, "shape"),
        ("a kind by name", {0: 3, 2: {0: "touch-needed"}}, "shape"),
        ("a kind below 0", {0: 3, 2: {0: -1}}, "shape"),
        ("a kind of 2^32", {0: 3, 2: {0: 2**32}}, "shape"),
        ("a token as bytes", {0: 3, 2: {0: 1, 1: b"main"}}, "shape"),
        ("a token of null", {0: 3, 2: {0: 1, 1: None}}, "unsupported"),
        ("an array as body", {0: 3, 2: [1]}, "shape"),
        ("a count as text", {0: 3, 2: {0: 11, 3: "7"}}, "shape"),
        ("a caller without uid", {0: 3, 2: {0: 1, 5: {1: 7}}}, "shape"),
        ("a caller as a number", {0: 3, 2: {0: 1, 5: 1000}}, "shape"),
        ("an operation by name", {0: 3, 2: {0: 1, 4: "sign"}}, "shape"),
        ("a program as bytes", {0: 3, 2: {0: 1, 5: {0: 0, 3: b"/bin/sh"}}}, "shape"),
        ("a count below 0", {0: 3, 2: {0: 11, 3: -1}}, "shape"),
        ("a kind of null", {0: 3, 2: {0: None}}, "unsupported"),
        ("a kind as an array", {0: 3, 2: {0: [1]}}, "shape"),
        ("a text as an event", {0: 3, 2: "lost"}, "shape"),
        ("an event in the wrong order", unordered((2, {0: 1}), (0, 3)), "key-order"),
        ("an event and a byte", Raw(enc({0: 3, 2: {0: 1}}) + b"\0"), "trailing"),
    ]:
        f.reject(name, item, error)
    f.write()


def main():
    keys = public_keys()
    cbor_file()
    frame_file()
    hello_file()
    request_file(keys)
    reply_file(keys)
    failure_file()
    event_file()
    key_files(keys)
    ciphertexts.files(sys.modules[__name__])
    attestations.files(sys.modules[__name__], keys)
    if pycddl is None:
        print("pycddl is not there: keyward.cddl was not checked")


main()
