#!/usr/bin/env python3
"""Writes the vectors that no other program makes, from those that tpm2-openssl and tpm2-tools made.

Those were made once, on swtpm: openssl-ec.pem, openssl-ec-auth.pem, openssl-ec384.pem and
openssl-rsa.pem by tpm2-openssl 1.1.1 (`openssl genpkey -provider tpm2`; auth: `-pkeyopt
user-auth:abc`), openssl-ec-srk.pem with `-pkeyopt parent:0x81000001`, tools-sealed.pem by
tpm2_encodeobject 5.4 of what `tpm2_create -i` sealed. A file that starts with `accept-`, `openssl-`
or `tools-` must be read; `malformed-`, `unsupported-` and `none-` say why one is not.
"""

import base64
import pathlib

HERE = pathlib.Path(__file__).parent
LOADABLE, IMPORTABLE, SEALED = (bytes([6, 6, 0x67, 0x81, 5, 10, 1, n]) for n in (3, 4, 5))


def tlv(tag, *parts):
    value = b"".join(parts)
    n = len(value)
    size = bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else bytes([0x82]) + n.to_bytes(2, "big")
    return bytes([tag]) + size + value


def integer(n):
    return tlv(2, n.to_bytes(n.bit_length() // 8 + 1, "big"))


def octets(value):
    return tlv(4, value)


def explicit(n, *parts):
    return tlv(0xA0 | n, *parts)


def boolean(value):
    return tlv(1, bytes([value]))


def command(code, parameters):
    return tlv(0x30, explicit(0, integer(code)), explicit(1, octets(parameters)))


def pem(der, label="TSS2 PRIVATE KEY", eol="\n", width=64):
    text = base64.b64encode(der).decode()
    lines = [text[i : i + width] for i in range(0, len(text), width)]
    return "".join(line + eol for line in [f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"])


def unpem(name):
    lines = (HERE / name).read_text().splitlines()
    return base64.b64decode("".join(lines[1:-1]))


def octet_strings(der):
    """The two at the end of a TPMKey with a parent of four or five bytes."""
    at = der.index(bytes.fromhex("0056002300"))
    public = der[at : at + 0x58]
    private = der[der.index(bytes.fromhex("007e"), at + 0x58) :]
    assert len(private) == 0x80
    return public, private


PUBLIC, PRIVATE = octet_strings(unpem("openssl-ec.pem"))
TRUE, FALSE = explicit(0, boolean(0xFF)), explicit(0, boolean(0))
OWNER, SRK = integer(0x40000001), integer(0x81000001)
PCR = command(0x17F, bytes.fromhex("0000" "00000001" "000b" "03800000"))
AUTH_VALUE = command(0x16B, b"")
POLICY = explicit(1, tlv(0x30, PCR, AUTH_VALUE))
DESCRIPTION = explicit(4, tlv(12, "Schlüssel\n2".encode()))


def key(*, oid=LOADABLE, auth=TRUE, extra=b"", parent=SRK, public=PUBLIC, private=PRIVATE, tail=b""):
    return tlv(0x30, oid, auth, extra, parent, octets(public), octets(private), tail)


def write(name, text):
    (HERE / f"{name}.pem").write_bytes(text if isinstance(text, bytes) else text.encode())


KEY = key()

write("accept-strict", pem(KEY))
write("accept-no-empty-auth", pem(key(auth=b"")))
write("accept-policy", pem(key(extra=POLICY)))
write("accept-policy-and-description", pem(key(extra=POLICY + DESCRIPTION)))
write("accept-rsa-parent-false", pem(key(extra=explicit(5, boolean(0)), parent=OWNER)))
write("accept-sealed", pem(key(oid=SEALED)))
write("accept-text-before", "keyward: 1\nlabel: ---BEGIN\n\n" + pem(KEY))
write("accept-crlf", "text\r\n" + pem(KEY, eol="\r\n"))
write("accept-private-of-1-byte", pem(key(private=b"\0\1\7")))

write("none-empty", "")
write("none-text", "keyward: 1\n")
write("none-public-key", pem(PUBLIC, "PUBLIC KEY"))
write("none-private-key", pem(KEY, "PRIVATE KEY"))
write("none-der", KEY)

write("unsupported-importable", pem(key(oid=IMPORTABLE, extra=explicit(2, octets(b"\0\1\7")))))
write("unsupported-importable-without-secret", pem(key(oid=IMPORTABLE)))
write("unsupported-secret", pem(key(extra=explicit(2, octets(b"\0\1\7")))))
write("unsupported-oid", pem(key(oid=bytes([6, 6, 0x67, 0x81, 5, 10, 1, 6]))))
write("unsupported-auth-policy", pem(key(extra=explicit(3, tlv(0x30, tlv(0x30, explicit(1, tlv(0x30, PCR))))))))
write("unsupported-rsa-parent", pem(key(extra=explicit(5, boolean(0xFF)), parent=OWNER)))

write("malformed-trailing-text", pem(KEY) + "more\n")
write("malformed-second-key", pem(KEY) + pem(KEY))
write("malformed-trailing-der", pem(KEY + b"\5\0"))
write("malformed-trailing-field", pem(key(tail=b"\5\0")))
write("malformed-cut-der", pem(KEY[:-1]))
write("malformed-no-end", pem(KEY).rsplit("-----END", 1)[0])
write("malformed-other-end", pem(KEY).replace("END TSS2 PRIVATE", "END PRIVATE"))
write("malformed-base64", pem(KEY).replace("M", "!", 1))
write("malformed-lines-of-76", pem(KEY, width=76))
write("malformed-pem-header", pem(KEY).replace("-----\n", "-----\nProc-Type: 4\n\n", 1))
write("malformed-nul-before", b"a\0b\n" + pem(KEY).encode())
write("malformed-too-long", "x" * 16384 + "\n" + pem(KEY))
write("malformed-long-form-length", pem(b"\x30\x82\x00" + KEY[2:]))
write("malformed-indefinite-length", pem(b"\x30\x80" + KEY[3:] + b"\0\0"))
write("malformed-true-is-2", pem(key(auth=explicit(0, boolean(2)))))
write("malformed-boolean-of-two-bytes", pem(key(auth=explicit(0, tlv(1, b"\xff\xff")))))
write("malformed-implicit-boolean", pem(key(auth=tlv(0x80, b"\xff"))))
write("malformed-primitive-tag", pem(key(auth=tlv(0x80, boolean(0xFF)))))
write("malformed-unknown-tag", pem(key(extra=explicit(6, boolean(0xFF)))))
write("malformed-order-of-tags", pem(key(extra=DESCRIPTION + POLICY)))
write("malformed-field-twice", pem(key(extra=TRUE)))
write("malformed-policy-empty", pem(key(extra=explicit(1, tlv(0x30)))))
write("malformed-policy-without-parameters", pem(key(extra=explicit(1, tlv(0x30, tlv(0x30, explicit(0, integer(1))))))))
write("malformed-policy-negative-code", pem(key(extra=explicit(1, tlv(0x30, tlv(0x30, explicit(0, tlv(2, b"\x80")), explicit(1, octets(b""))))))))
write("malformed-policy-third-field", pem(key(extra=explicit(1, tlv(0x30, tlv(0x30, explicit(0, integer(1)), explicit(1, octets(b"")), explicit(2, octets(b""))))))))
write("malformed-description-not-utf8", pem(key(extra=explicit(4, tlv(12, b"\xff")))))
write("malformed-parent-negative", pem(key(parent=tlv(2, bytes.fromhex("81000001")))))
write("malformed-parent-padded", pem(key(parent=tlv(2, bytes.fromhex("0040000001")))))
write("malformed-parent-of-five-bytes", pem(key(parent=integer(0x140000001))))
write("malformed-parent-transient", pem(key(parent=integer(0x80000000))))
write("malformed-parent-zero", pem(key(parent=integer(0))))
write("malformed-no-parent", pem(key(parent=b"")))
write("malformed-public-empty", pem(key(public=b"")))
write("malformed-public-of-nothing", pem(key(public=b"\0\0")))
write("malformed-public-short", pem(key(public=PUBLIC[:-1])))
write("malformed-public-long", pem(key(public=PUBLIC + b"\0")))
write("malformed-private-one-byte", pem(key(private=b"\0")))
write("malformed-private-of-nothing", pem(key(private=b"\0\0")))
write("malformed-private-long", pem(key(private=PRIVATE + b"\0")))
write("malformed-no-private", pem(tlv(0x30, LOADABLE, TRUE, SRK, octets(PUBLIC))))
write("malformed-constructed-octets", pem(tlv(0x30, LOADABLE, TRUE, SRK, tlv(0x24, octets(PUBLIC)), octets(PRIVATE))))
