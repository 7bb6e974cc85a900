#!/usr/bin/env python3
"""Writes piv.json: answers of PIV cards, written by hand from the specifications, and what is wrong with others."""
import hashlib, json, os

def tlv(tag, value=b""):
    t = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
    n = len(value)
    return t + (bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else b"\x82" + n.to_bytes(2, "big")) + value

X, Y = bytes(range(1, 33)), bytes(range(33, 65))
POINT = b"\x04" + X + Y
N = b"\xc1" + bytes(254) + b"\x01"
ALG, ECC = b"\x11", tlv(0x86, POINT)
RSA = tlv(0x81, N) + tlv(0x82, b"\x01\x00\x01")
def slot(alg=ALG, policy=b"\x02\x01", origin=b"\x01", key=ECC):
    return tlv(1, alg) + tlv(2, policy) + tlv(3, origin) + tlv(4, key)
def spki(point=POINT):
    return tlv(0x30, tlv(0x30, bytes.fromhex("06072a8648ce3d020106082a8648ce3d030107")) + tlv(3, b"\0" + point))
def cert(key=None, policy=b"\x02\x03", version=True, tail=b""):
    name = tlv(0x30)
    ext = tlv(0xa3, tlv(0x30, tlv(0x30, tlv(6, bytes.fromhex("2b0601040182c40a0308")) + tlv(4, policy)))) if policy else b""
    tbs = (tlv(0xa0, bytes([2, 1, 2])) if version else b"") + tlv(2, b"\1") + tlv(0x30) + name + tlv(0x30) + name + (key or spki()) + ext
    return tlv(0x30, tlv(0x30, tbs) + tlv(0x30) + tlv(3, b"\0")) + tail
def cb(n):  # a CBOR byte string
    return bytes([0x58, len(n)]) + n if len(n) > 23 else bytes([0x40 + len(n)]) + n
def note(form=1, id=bytes(16), label=b"k.1", digest=hashlib.sha256(spki()).digest(), purpose=1, origin=1, head=0x85, tail=b""):
    return bytes([form, head]) + cb(id) + bytes([0x60 + len(label)]) + label + cb(digest) + bytes([purpose, origin]) + tail

V = []
def v(parser, name, data, why=None):
    V.append({"parser": parser, "name": name, "hex": data.hex(), "outcome": "reject" if why else "accept", "why": why})

v("slot-metadata", "p256-generated", slot())
v("slot-metadata", "p256-imported-touch", slot(policy=b"\x03\x02", origin=b"\x02"))
v("slot-metadata", "rsa-2048", slot(alg=b"\x07", key=RSA))
v("slot-metadata", "ed25519", slot(alg=b"\xe0", key=tlv(0x86, X)))
v("slot-metadata", "a-kind-that-is-not-used", slot(alg=b"\x06", key=b""))
v("slot-metadata", "empty", b"", "no algorithm")
v("slot-metadata", "cut", slot()[:-1], "the key is cut")
v("slot-metadata", "policy-of-one-byte", slot(policy=b"\x02"), "two policies are needed")
v("slot-metadata", "unknown-pin-policy", slot(policy=b"\x07\x01"), "no such policy")
v("slot-metadata", "unknown-touch-policy", slot(policy=b"\x01\x00"), "no such policy")
v("slot-metadata", "unknown-origin", slot(origin=b"\x03"), "neither made nor put there")
v("slot-metadata", "twice", slot() + tlv(1, ALG), "two algorithms")
v("slot-metadata", "point-of-another-curve", slot(alg=b"\x14"), "64 bytes are no point of P-384")
v("slot-metadata", "compressed-point", slot(key=tlv(0x86, b"\x02" + X)), "not 04")
v("slot-metadata", "rsa-2048-that-is-shorter", slot(alg=b"\x07", key=tlv(0x81, N[:128]) + tlv(0x82, b"\1\0\1")), "1024 bits")
v("pin-metadata", "factory", tlv(1, b"\xff") + tlv(5, b"\1") + tlv(6, b"\3\3"))
v("pin-metadata", "one-left", tlv(5, b"\0") + tlv(6, b"\x0f\1"))
v("pin-metadata", "more-left-than-there-are", tlv(5, b"\0") + tlv(6, b"\3\4"), "4 of 3")
v("pin-metadata", "no-counter", tlv(5, b"\0"), "no tries")
v("pin-metadata", "no-flag", tlv(6, b"\3\3"), "not said whether it is the factory's")
v("management-metadata", "aes-192", tlv(1, b"\x0a") + tlv(2, b"\0\1") + tlv(5, b"\1"))
v("management-metadata", "touch", tlv(1, b"\x03") + tlv(2, b"\0\2") + tlv(5, b"\0"))
v("management-metadata", "no-algorithm", tlv(2, b"\0\1") + tlv(5, b"\1"), "no algorithm")
v("management-metadata", "policy-cut", tlv(1, b"\x0a") + tlv(2, b"\1") + tlv(5, b"\1"), "two policies are needed")
v("certificate-object", "usual", tlv(0x70, cert()) + tlv(0x71, b"\0") + tlv(0xfe))
v("certificate-object", "without-info", tlv(0x70, cert()))
v("certificate-object", "compressed", tlv(0x70, b"\x1f\x8b") + tlv(0x71, b"\1"), "gzip")
v("certificate-object", "none", tlv(0x71, b"\0"), "no certificate in it")
v("certificate-object", "cut", tlv(0x70, cert())[:-1], "cut")
v("certificate", "attestation", cert())
v("certificate", "version-1", cert(policy=None, version=False))
v("certificate", "behind-it", cert(tail=b"\0"), "something behind it")
v("certificate", "no-key", tlv(0x30, tlv(0x30, tlv(2, b"\1")) + tlv(0x30) + tlv(3, b"\0")), "no key")
v("certificate", "unknown-key", cert(key=tlv(0x30, tlv(0x30, tlv(6, b"\x2a")) + tlv(3, b"\0"))), "a kind that is not used")
v("certificate", "point-cut", cert(key=spki(POINT[:-1])), "no point")
v("chuid", "guid", tlv(0x30, bytes(25)) + tlv(0x34, X[:16]) + tlv(0x3e) + tlv(0xfe))
v("chuid", "another-form", b"\x01")
v("chuid", "empty", b"", "nothing to be known by")
v("note", "usual", note())
v("note", "adopted", note(origin=3))
v("note", "newer", note(form=2), "a newer form")
v("note", "empty", b"", "nothing")
v("note", "id-of-15-bytes", note(id=bytes(15)), "no id")
v("note", "digest-cut", note(digest=bytes(31)), "no SHA-256")
v("note", "unknown-origin", note(origin=9), "no such origin")
v("note", "unknown-purpose", note(purpose=23), "no such purpose")
v("note", "behind-it", note(tail=b"\0"), "something behind it")
v("note", "array-that-does-not-end", note(head=0x9f), "no end")
v("admin-data", "empty", tlv(0x80))
v("admin-data", "protected", tlv(0x80, tlv(0x81, b"\2")))
v("admin-data", "flags-of-two-bytes", tlv(0x80, tlv(0x81, b"\0\2")), "one byte is right")
v("admin-data", "another-object", tlv(0x88), "not 80")
v("protected-key", "24-bytes", tlv(0x88, tlv(0x89, bytes(24))))
v("protected-key", "none", tlv(0x88), "no key in it")
v("protected-key", "another-length", tlv(0x88, tlv(0x89, bytes(20))), "no key has 20 bytes")
v("ecdsa", "usual", tlv(0x30, tlv(2, X) + tlv(2, Y)))
v("ecdsa", "leading-zero", tlv(0x30, tlv(2, b"\0\x81") + tlv(2, b"\1")))
v("ecdsa", "negative", tlv(0x30, tlv(2, b"\x81") + tlv(2, b"\1")), "below zero")
v("ecdsa", "one-number", tlv(0x30, tlv(2, X)), "no s")
v("ecdsa", "three-numbers", tlv(0x30, tlv(2, X) * 3), "a third number")
v("ecdsa", "behind-it", tlv(0x30, tlv(2, X) + tlv(2, Y)) + b"\0", "something behind it")
v("version", "5.7.1", b"\5\7\1")
v("version", "two-numbers", b"\5\7", "three are right")
v("serial", "usual", b"\0\xbc\x61\x4e")
v("serial", "three-bytes", b"\xbc\x61\x4e", "four are right")

accepted = sum(one["outcome"] == "accept" for one in V)
assert accepted * 2 <= len(V), (accepted, len(V))
here = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(here, "piv.json"), "w") as out:
    out.write("[\n" + ",\n".join("  " + json.dumps(one) for one in V) + "\n]\n")
