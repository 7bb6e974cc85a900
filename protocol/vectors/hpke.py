"""HPKE (RFC 9180) in base mode with DHKEM(P-256, HKDF-SHA256) and HKDF-SHA256, single shot.

An implementation of its own for the vectors: it can be given the ephemeral key, and it shows Z,
which in keyward comes from the token. pyhpke checks it, if that is there.
"""

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

try:
    import pyhpke
except ImportError:
    pyhpke = None

KEM_ID, KDF_ID = 0x0010, 0x0001
CURVE = ec.SECP256R1()
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
# AEAD ids and the lengths of their keys (RFC 9180 §7.3).
AEADS = {"AES-128-GCM": (1, 16), "AES-256-GCM": (2, 32)}


def i2osp(number, length):
    return number.to_bytes(length, "big")


KEM_SUITE = b"KEM" + i2osp(KEM_ID, 2)


def extract(salt, suite, label, ikm):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256)


def expand(prk, suite, label, info, length):
    info = i2osp(length, 2) + b"HPKE-v1" + suite + label + info
    out, block = b"", b""
    for counter in range(1, 255):
        if len(out) >= length:
            break
        block = hmac.digest(prk, block + info + i2osp(counter, 1), hashlib.sha256)
        out += block
    return out[:length]


def derive_key_pair(ikm):
    """RFC 9180 §7.1.3."""
    prk = extract(b"", KEM_SUITE, b"dkp_prk", ikm)
    for counter in range(256):
        secret = int.from_bytes(expand(prk, KEM_SUITE, b"candidate", i2osp(counter, 1), 32), "big")
        if 0 < secret < ORDER:
            return ec.derive_private_key(secret, CURVE)
    raise ValueError("no key")


def private(secret):
    return ec.derive_private_key(int.from_bytes(secret, "big"), CURVE)


def point(key):
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def shared_secret(z, enc, pk_r):
    """ExtractAndExpand of RFC 9180 §4.1."""
    prk = extract(b"", KEM_SUITE, b"eae_prk", z)
    return expand(prk, KEM_SUITE, b"shared_secret", enc + pk_r, 32)


def key_schedule(aead, secret, info):
    """RFC 9180 §5.1, mode_base: the key and the nonce of the first message."""
    number, length = AEADS[aead]
    suite = b"HPKE" + i2osp(KEM_ID, 2) + i2osp(KDF_ID, 2) + i2osp(number, 2)
    context = b"\0" + extract(b"", suite, b"psk_id_hash", b"") + extract(b"", suite, b"info_hash", info)
    secret = extract(secret, suite, b"secret", b"")
    return expand(secret, suite, b"key", context, length), expand(secret, suite, b"base_nonce", context, 12)


def seal(aead, ephemeral, pk_r, info, aad, plaintext):
    """Single shot (RFC 9180 §6.1): enc, ciphertext and Z."""
    enc = point(ephemeral.public_key())
    z = ephemeral.exchange(ec.ECDH(), pk_r)
    key, nonce = key_schedule(aead, shared_secret(z, enc, point(pk_r)), info)
    return enc, AESGCM(key).encrypt(nonce, plaintext, aad), z


def open_(aead, sk_r, enc, info, aad, ciphertext):
    """Single shot; raises if it does not open."""
    z = sk_r.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, enc))
    key, nonce = key_schedule(aead, shared_secret(z, enc, point(sk_r.public_key())), info)
    plaintext = AESGCM(key).decrypt(nonce, ciphertext, aad)
    if pyhpke is not None:
        suite = pyhpke.CipherSuite.new(
            pyhpke.KEMId.DHKEM_P256_HKDF_SHA256, pyhpke.KDFId.HKDF_SHA256, pyhpke.AEADId(AEADS[aead][0])
        )
        recipient = suite.create_recipient_context(enc, pyhpke.KEMKey.from_pyca_cryptography_key(sk_r), info)
        assert recipient.open(ciphertext, aad) == plaintext
    return plaintext
