"""Writes ciphertext.json and hpke.json; generate.py calls it.

Every ciphertext that is to be accepted is one: with what stands beside it, it opens.
"""

import hashlib
import uuid
from pathlib import Path

import hpke
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = Path(__file__).parent
KID = uuid.UUID("0b8f6f0e-5f0c-4c53-9d0a-3f3a54b0c9a1").bytes
VERSION, FORMAT = -65537, -65538
NUMBERS = {"A128GCM": 1, "A256GCM": 3, "HPKE-0": 35, "HPKE-7": 45, "RSA-OAEP": 3}
AEAD = {"HPKE-0": "AES-128-GCM", "HPKE-7": "AES-256-GCM"}
TAG0, TAG = b"\xd0", b"\xd8\x60"
MESSAGE = b"the quick brown fox"

# RFC 9180 A.3.1, the first encryption.
RFC9180 = {
    "sk_r": "f3ce7fdae57e1a310d87f1ebbde6f328be0a99cdbcadf4d6589cf29de4b8ffd2",
    "pk_r": "04fe8c19ce0905191ebc298a9245792531f26f0cece2460639e8bc39cb7f706a826a779b4cf969b8a0e539c7f62fb3d30ad6aa8f80e30f1d128aafd68a2ce72ea0",
    "ikm_e": "4270e54ffd08d79d5928020af4686d8f6b7d35dbe470265f1f5aa22816ce860e",
    "enc": "04a92719c6195d5085104f469a8b9814d5838ff72b60501e2c4466e5e67b325ac98536d7b61a1af4b78e5b7f951c0900be863c403ce65c9bfcb9382657222d18c4",
    "info": "4f6465206f6e2061204772656369616e2055726e",
    "aad": "436f756e742d30",
    "plaintext": "4265617574792069732074727574682c20747275746820626561757479",
    "hex": "5ad590bb8baa577f8619db35a36311226a896e7342a6d836d8b7bcd2f20b6c7f9076ac232e3ab2523f39513434",
    "shared_secret": "c0d26aeab536609a572b07695d933b589dcf363ff9d93c93adea537aeabb8cb8",
}

# draft-ietf-cose-hpke-27, Figures 2 and 4.
DRAFT_EXAMPLE = bytes.fromhex(
    "d08344a1011823a20443626f622358410457229bdd99407b384a9e59fa1553224d58b106e9ebebdaa06d2126bd967576"
    "74847669966ecb0dcdf21af5623f19f0b799b0cddf3ee930b739dd474f6282de0158253f3c1595e9d252e816215a9ce7"
    "3f47ba4b57acb06ecc39ca5a03a14108bbe7807af5688d61"
)
DRAFT_KEY = bytes.fromhex("eca39300147c91a2a65d17e00ea278b57a14178245bf5686d9a404cca1816b8e")


def pseudo(label, length):
    """Bytes that look random and are the same each time."""
    return hashlib.shake_128(label.encode()).digest(length)


def files(g):
    hpke_file(g)
    ciphertext_file(g)


# ---- HPKE ----

def hpke_file(g):
    f = g.File("hpke", "HPKE in base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, single shot (RFC 9180 §6.1); `hex` is the ciphertext, `z` what ECDH gives (SPEC.md §12.4).")
    raw = {name: bytes.fromhex(value) for name, value in RFC9180.items()}
    sk_r, ephemeral = hpke.private(raw["sk_r"]), hpke.derive_key_pair(raw["ikm_e"])
    enc, ciphertext, z = hpke.seal("AES-128-GCM", ephemeral, sk_r.public_key(), raw["info"], raw["aad"], raw["plaintext"])
    assert (enc, ciphertext) == (raw["enc"], raw["hex"]) and hpke.point(sk_r.public_key()) == raw["pk_r"]
    assert hpke.shared_secret(z, enc, raw["pk_r"]) == raw["shared_secret"]
    assert hpke.open_("AES-128-GCM", sk_r, enc, raw["info"], raw["aad"], ciphertext) == raw["plaintext"]

    def add(name, outcome, aead, sk_r, pk_r, enc, z, info, aad, ciphertext, **more):
        fields = {"sk_r": sk_r, "pk_r": pk_r, "enc": enc, "z": z, "info": info, "aad": aad, **more}
        error = {} if outcome == "accept" else {"error": "open-failed"}
        f.add(name, g.Raw(ciphertext), outcome, aead=aead, **{k: v.hex() for k, v in fields.items()}, **error)

    add("RFC 9180 A.3.1", "accept", "AES-128-GCM", raw["sk_r"], raw["pk_r"], enc, z, raw["info"], raw["aad"], ciphertext,
        plaintext=raw["plaintext"], ikm_e=raw["ikm_e"])
    for aead in hpke.AEADS:
        for length in (0, 1, 16, 4096):
            name = f"{aead}, {length} bytes"
            recipient, ikm = hpke.derive_key_pair(pseudo(name + " recipient", 32)), pseudo(name + " ephemeral", 32)
            info, aad, plaintext = pseudo(name + " info", length % 100), pseudo(name + " aad", length % 50), pseudo(name, length)
            enc, ciphertext, z = hpke.seal(aead, hpke.derive_key_pair(ikm), recipient.public_key(), info, aad, plaintext)
            assert hpke.open_(aead, recipient, enc, info, aad, ciphertext) == plaintext
            secret = recipient.private_numbers().private_value.to_bytes(32, "big")
            pk_r = hpke.point(recipient.public_key())
            good = [aead, secret, pk_r, enc, z, info, aad, ciphertext]
            add(name, "accept", *good, plaintext=plaintext, ikm_e=ikm)
            if length != 16:
                continue
            other_aead = next(a for a in hpke.AEADS if a != aead)
            add(f"{aead}, said to be {other_aead}", "reject", other_aead, *good[1:])
            for what, place in ("enc", 3), ("z", 4), ("info", 5), ("aad", 6), ("ciphertext", 7):
                flipped = list(good)
                flipped[place] = good[place][:9] + bytes([good[place][9] ^ 0x10]) + good[place][10:]
                add(f"{aead}, a bit of {what}", "reject", *flipped)
            for what, place, value in [
                ("the tag's last bit", 7, ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])),
                ("no tag", 7, ciphertext[:-16]), ("15 bytes alone", 7, ciphertext[:15]), ("nothing", 7, b""),
                ("a byte behind it", 7, ciphertext + b"\0"),
                ("the point at infinity", 3, b"\0"), ("infinity at full length", 3, bytes(65)),
                ("x = y = 0", 3, b"\4" + bytes(64)), ("enc in the field's prime", 3, b"\4" + b"\xff" * 64),
                ("enc cut short", 3, enc[:-1]), ("enc too long", 3, enc + b"\0"), ("no enc", 3, b""),
                ("enc compressed", 3, bytes([2 | enc[-1] & 1]) + enc[1:33]), ("enc hybrid", 3, bytes([6 | enc[-1] & 1]) + enc[1:]),
                ("z cut short", 4, z[:-1]), ("z too long", 4, b"\0" + z), ("no z", 4, b""),
                ("another recipient", 2, raw["pk_r"]),
            ]:
                add(f"{aead}, {what}", "reject", *good[:place], value, *good[place + 1:])
    f.write()


# ---- COSE ----

def protected(g, scheme, kid=KID, version=1, form=1, **more):
    header = {1: NUMBERS[scheme], 4: kid, VERSION: version, FORMAT: form}
    header.update(more.get("more", {}))
    return g.enc({k: v for k, v in header.items() if v is not None})


def aad(g, scheme, header, context):
    """Enc_structure of RFC 9052 §5.3."""
    kind = "Encrypt" if scheme == "RSA-OAEP" else "Encrypt0"
    return g.enc([kind, header, g.enc(context) if context else b""])


def oaep(public, seed, message):
    """RSAES-OAEP with SHA-256, no label (RFC 8017 §7.1.1), with a seed that is given."""
    def mask(seed, length):
        blocks = (hashlib.sha256(seed + c.to_bytes(4, "big")).digest() for c in range(length // 32 + 1))
        return b"".join(blocks)[:length]

    def xor(a, b):
        return bytes(x ^ y for x, y in zip(a, b, strict=True))

    numbers, k = public.public_numbers(), public.key_size // 8
    db = hashlib.sha256(b"").digest() + bytes(k - len(message) - 66) + b"\1" + message
    masked = xor(db, mask(seed, len(db)))
    block = b"\0" + xor(seed, mask(masked, 32)) + masked
    return pow(int.from_bytes(block, "big"), numbers.e, numbers.n).to_bytes(k, "big")


def ciphertext_file(g):
    f = g.File("ciphertext", "Ciphertexts as COSE_Encrypt0 and COSE_Encrypt (SPEC.md §12). What is accepted opens, with `context` and the key in `key`, to `plaintext`.")
    private = serialization.load_pem_private_key((HERE / "keys/private/rsa-2048.pem").read_bytes(), None)
    publics = {2048: private.public_key()}
    for size in (3072, 4096):
        publics[size] = serialization.load_pem_public_key((HERE / f"keys/rsa-{size}.pem").read_bytes())
    parts = {}

    def sealed(name, scheme, plaintext, context, kid=KID, version=1, size=2048):
        header = protected(g, scheme, kid, version)
        beside = aad(g, scheme, header, context)
        iv = pseudo(name + " iv", 12)
        if scheme in AEAD:
            recipient = hpke.derive_key_pair(pseudo(name + " recipient", 32))
            ek, content, z = hpke.seal(AEAD[scheme], hpke.derive_key_pair(pseudo(name, 32)), recipient.public_key(), b"", beside, plaintext)
            assert hpke.open_(AEAD[scheme], recipient, ek, b"", beside, content) == plaintext
            key = {"sk_r": recipient.private_numbers().private_value.to_bytes(32, "big").hex(), "pk_r": hpke.point(recipient.public_key()).hex(), "z": z.hex()}
            item, more, rule = [header, {-4: ek}, content], {"ek": ek.hex()}, "hpke"
        elif scheme == "RSA-OAEP":
            cek = pseudo(name + " cek", 32)
            encrypted = oaep(publics[size], pseudo(name + " seed", 32), cek)
            if size == 2048:
                sha = hashes.SHA256()
                assert private.decrypt(encrypted, padding.OAEP(padding.MGF1(sha), sha, None)) == cek
            content = AESGCM(cek).encrypt(iv, plaintext, beside)
            key = {"cek": cek.hex(), **({"private": "keys/private/rsa-2048.pem"} if size == 2048 else {})}
            item, more, rule = [header, {5: iv}, content, [[b"", {1: -41}, encrypted]]], {"iv": iv.hex(), "encrypted_key": encrypted.hex()}, "rsa"
        else:
            secret = pseudo(name + " key", 16 if scheme == "A128GCM" else 32)
            content = AESGCM(secret).encrypt(iv, plaintext, beside)
            key, item, more, rule = {"secret": secret.hex()}, [header, {5: iv}, content], {"iv": iv.hex()}, "aes"
        parts[name] = item
        data = g.Raw((TAG if len(item) == 4 else TAG0) + g.enc(item))
        g.check(f"{rule}-ciphertext", data)
        g.check(f"{rule}-protected", g.Raw(header))
        g.check("encryption-context", context)
        f.accept(name, data, scheme=scheme, kid=str(uuid.UUID(bytes=kid)), version=version, context=context, aad=beside.hex(),
                 content=content.hex(), plaintext=plaintext.hex(), key=key, **more)

    for scheme in NUMBERS:
        sealed(scheme, scheme, MESSAGE, {"tenant": "a", "file": "x"})
        sealed(f"{scheme}, empty, no context", scheme, b"", {})
        sealed(f"{scheme}, 300 bytes", scheme, pseudo(scheme, 300), {"purpose": "backup"}, version=2)
        sealed(f"{scheme}, the largest numbers", scheme, MESSAGE, {"k": ""}, kid=b"\xff" * 16, version=2**32 - 1)
        sealed(f"{scheme}, the smallest numbers", scheme, MESSAGE, {"k": "é"}, kid=bytes(16))
        sealed(f"{scheme}, contexts go by their encodings", scheme, MESSAGE, {"aa": "1", "b": "2", "é": "3", "c" * 24: "4", "d" * 23: "5"})
    sealed("A256GCM, 16 names", "A256GCM", MESSAGE, {str(i): "v" * 200 for i in range(16)})
    sealed("A256GCM, long names and values", "A256GCM", MESSAGE, {"n" * 127 + str(i): "v" * 512 for i in range(6)})
    sealed("A256GCM, the longest", "A256GCM", bytes(16 * 1024 - 71), {})
    assert len(f.vectors[-1]["hex"]) == 2 * 16 * 1024
    for size in (3072, 4096):
        sealed(f"RSA-OAEP, {size} bits", "RSA-OAEP", MESSAGE, {"k": "v"}, size=size)
    rejects(g, f, parts)
    f.write()


def rejects(g, f, parts):
    aes, ec, rsa = parts["A256GCM"], parts["HPKE-7"], parts["RSA-OAEP"]
    recipient = rsa[3][0]

    def refused(name, item, error="shape", tag=TAG0):
        f.reject(name, g.Raw(tag + g.enc(item)), error)

    def header(name, error="shape", scheme="A256GCM", **changes):
        item = {"A256GCM": aes, "HPKE-7": ec, "RSA-OAEP": rsa}[scheme]
        tag = TAG if scheme == "RSA-OAEP" else TAG0
        refused(name, [protected(g, scheme, **changes), *item[1:]], error, tag)

    body = g.enc(aes)
    for name, data in {
        "nothing": b"", "half a tag": b"\xd8", "without a tag": body, "COSE_Mac0": b"\xd1" + body, "COSE_Sign1": b"\xd2" + body,
        "tag 16 in two bytes": b"\xd8\x10" + body, "self-described CBOR": b"\xd9\xd9\xf7" + TAG0 + body, "text": b"age-encryption.org/v1",
    }.items():
        f.reject(name, g.Raw(data), "not-ciphertext")
    f.reject("a byte too long", g.Raw(TAG0 + g.enc([aes[0], aes[1], bytes(16 * 1024 - 54)])), "too-large")
    f.reject("no COSE and too long", g.Raw(bytes(16 * 1024 + 1)), "too-large")
    f.reject("a tag alone", g.Raw(TAG0), "truncated")
    f.reject("a tag twice", g.Raw(TAG0 + TAG0 + body), "unsupported")
    f.reject("cut short", g.Raw((TAG0 + body)[:-1]), "truncated")
    f.reject("cut in the header", g.Raw((TAG0 + body)[:20]), "truncated")
    f.reject("a byte behind it", g.Raw(TAG0 + body + b"\0"), "trailing")
    f.reject("of no definite length", g.Raw(TAG0 + b"\x9f" + body[1:] + b"\xff"), "indefinite")
    f.reject("a length in three bytes", g.Raw(TAG0 + body.replace(b"\x58\x23", b"\x59\x00\x23", 1)), "not-shortest")
    f.reject("a content of 2^64-1 bytes", g.Raw(TAG0 + b"\x83" + g.enc(aes[0]) + g.enc(aes[1]) + b"\x5b" + b"\xff" * 8), "truncated")
    refused("COSE_Encrypt0 under the tag of COSE_Encrypt", aes, tag=TAG)
    refused("COSE_Encrypt under the tag of COSE_Encrypt0", rsa)
    refused("HPKE under the tag of COSE_Encrypt", ec, tag=TAG)
    refused("two items", aes[:2])
    refused("an empty array", [])
    refused("a map", {1: 2})
    refused("a detached content", [*aes[:2], None], "unsupported")
    refused("a content of 15 bytes", [*aes[:2], bytes(15)])
    refused("no content", [*aes[:2], b""])
    refused("a content as text", [*aes[:2], "x" * 16])

    header("format 2", "unknown-format", form=2)
    header("format 0", "unknown-format", form=0)
    header("format 2^64-1", "unknown-format", form=2**64 - 1)
    f.reject("format 2 in a form of its own", g.Raw(TAG0 + g.enc([g.enc({1: "new", FORMAT: 2, "x": [1]}), {}, b"", 7])), "unknown-format")
    header("format 2 for HPKE", "unknown-format", "HPKE-7", form=2)
    header("format 2 for RSA", "unknown-format", "RSA-OAEP", form=2)
    header("without a format", form=None)
    header("a format as text", form="1")
    header("a format below 0", form=-1)
    refused("the example of draft-ietf-cose-hpke-27", g.Raw(DRAFT_EXAMPLE[1:]))
    draft_example(g)

    for name, changes in {
        "A192GCM": {1: 2}, "ChaCha20/Poly1305": {1: 24}, "AES-CCM": {1: 10}, "A128CTR": {1: -65534}, "the number of OAEP": {1: -41},
        "the number of HPKE-7": {1: 45}, "HPKE-4": {1: 42}, "HPKE-7-KE": {1: 53}, "an algorithm by name": {1: "A256GCM"},
        "without an algorithm": {1: None}, "without a kid": {4: None}, "a kid as text": {4: "0b8f6f0e-5f0c-4c53-9d0a-3f3a54b0c9a1"},
        "a kid of 15 bytes": {4: KID[1:]}, "a kid of 17 bytes": {4: KID + b"\0"}, "without a version": {VERSION: None}, "version 0": {VERSION: 0},
        "version 2^32": {VERSION: 2**32}, "a version below 0": {VERSION: -1}, "a critical label": {2: [VERSION]}, "a content type": {3: 0},
        "another private label": {-65539: 1}, "a protected IV": {5: bytes(12)}, "a text label": {"x": 1},
    }.items():
        header(f"{name}", more=changes)
    header("HPKE with the number of A256GCM", scheme="HPKE-7", more={1: 3})
    header("HPKE with a psk_id", scheme="HPKE-7", more={-5: b"psk"})
    header("RSA with A128GCM", scheme="RSA-OAEP", more={1: 1})
    header("RSA with the number of OAEP in the body", scheme="RSA-OAEP", more={1: -41})
    refused("a protected header that is not in bytes", [{1: 3, 4: KID, VERSION: 1, FORMAT: 1}, *aes[1:]])
    refused("an empty protected header", [b"", *aes[1:]], "truncated")
    refused("an empty map as protected header", [b"\xa0", *aes[1:]])
    refused("a protected header of two items", [aes[0] + b"\0", *aes[1:]], "trailing")
    disordered = g.unordered((1, 3), (4, KID), (FORMAT, 1), (VERSION, 1))
    refused("a protected header in another order", [bytes(disordered), *aes[1:]], "key-order")
    refused("a protected header with a label twice", [bytes(g.unordered((1, 1), (1, 3), (4, KID), (VERSION, 1), (FORMAT, 1))), *aes[1:]], "key-order")
    refused("a protected header with 1 in two bytes", [aes[0].replace(b"\xa4\x01\x03", b"\xa4\x01\x18\x03"), *aes[1:]], "not-shortest")
    refused("all of it unprotected", [b"", {1: 3, 4: KID, VERSION: 1, FORMAT: 1, 5: aes[1][5]}, aes[2]], "truncated")

    iv, ek = aes[1][5], ec[1][-4]
    for name, unprotected in {
        "no IV": {}, "an IV of 11 bytes": {5: iv[1:]}, "an IV of 13 bytes": {5: iv + b"\0"}, "an empty IV": {5: b""}, "a partial IV": {6: iv},
        "an IV as text": {5: "x" * 12}, "an IV and a kid": {4: KID, 5: iv}, "an IV and an ek": {5: iv, -4: ek}, "an ek in place of the IV": {-4: ek},
    }.items():
        refused(name, [aes[0], unprotected, aes[2]])
    for name, unprotected in {
        "no ek": {}, "an ek of 64 bytes": {-4: ek[:-1]}, "an ek of 66 bytes": {-4: ek + b"\0"}, "a compressed ek": {-4: b"\2" + ek[1:33]},
        "a hybrid ek": {-4: b"\6" + ek[1:]}, "the point at infinity as ek": {-4: b"\0"}, "an ek as COSE_Key": {-4: {1: 2}},
        "an ek under the label of a draft before": {-22345: ek}, "an IV in place of the ek": {5: iv},
    }.items():
        refused(name, [ec[0], unprotected, ec[2]])
    encrypted = recipient[2]
    for name, recipients in {
        "no recipient": [], "two recipients": [recipient, recipient], "recipients in a map": {0: recipient},
        "a recipient with a recipient": [[*recipient, [recipient]]], "a recipient of two items": [recipient[:2]],
        "a recipient with a protected algorithm": [[g.enc({1: -41}), {}, encrypted]], "a recipient with a protected empty map": [[b"\xa0", *recipient[1:]]],
        "a recipient without an algorithm": [[b"", {}, encrypted]], "RSAES-OAEP with SHA-1": [[b"", {1: -40}, encrypted]],
        "RSAES-OAEP with SHA-512": [[b"", {1: -42}, encrypted]], "the direct use of a key": [[b"", {1: -6}, encrypted]],
        "AES key wrap": [[b"", {1: -5}, encrypted]], "a recipient with a kid": [[b"", {1: -41, 4: KID}, encrypted]],
        "an encrypted key of 128 bytes": [[b"", {1: -41}, encrypted[:128]]], "an encrypted key of 255 bytes": [[b"", {1: -41}, encrypted[1:]]],
        "an encrypted key of 257 bytes": [[b"", {1: -41}, encrypted + b"\0"]], "no encrypted key": [[b"", {1: -41}, b""]],
    }.items():
        refused(name, [*rsa[:3], recipients], tag=TAG)
    refused("an encrypted key of nil", [*rsa[:3], [[b"", {1: -41}, None]]], "unsupported", TAG)
    refused("COSE_Encrypt without recipients", rsa[:3], tag=TAG)
    refused("COSE_Encrypt of five items", [*rsa, 0], tag=TAG)


def draft_example(g):
    """What is used here of draft-ietf-cose-hpke-27 opens the draft's own example."""
    head, unprotected, content = g.cbor2.loads(DRAFT_EXAMPLE).value
    assert g.cbor2.loads(head) == {1: NUMBERS["HPKE-0"]}
    beside = aad(g, "HPKE-0", head, {})
    plaintext = hpke.open_(AEAD["HPKE-0"], hpke.private(DRAFT_KEY), unprotected[-4], b"", beside, content)
    assert plaintext == b"This is the content.\n"
