#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn ways_to_a_tpm_are_put_together_anew() {
    for (text, whole) in [
        (DEFAULT, DEFAULT),
        ("device:/dev/tpm0", "device:/dev/tpm0"),
        ("device:/dev/vtpm/a:b", "device:/dev/vtpm/a:b"),
        (
            "tabrmd:",
            "tabrmd:bus_name=com.intel.tss2.Tabrmd,bus_type=system",
        ),
        (
            "tabrmd:bus_type=session",
            "tabrmd:bus_name=com.intel.tss2.Tabrmd,bus_type=session",
        ),
        (
            "tabrmd:bus_type=system,bus_name=a.b-c.D_1",
            "tabrmd:bus_name=a.b-c.D_1,bus_type=system",
        ),
        (
            "swtpm:host=localhost,port=2321",
            "swtpm:host=127.0.0.1,port=2321",
        ),
        ("swtpm:port=1,host=10.0.0.1", "swtpm:host=10.0.0.1,port=1"),
        ("swtpm:host=::1,port=65534", "swtpm:host=::1,port=65534"),
    ] {
        let tcti = Tcti::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(tcti.to_string(), whole);
        assert_eq!(Tcti::parse(whole), Ok(tcti));
    }
}

#[test]
fn each_way_takes_its_own_sockets_and_device() {
    for (text, device, sockets) in [
        (DEFAULT, Some("/dev/tpmrm0"), SocketKinds::None),
        ("tabrmd:", None, SocketKinds::Unix),
        ("swtpm:host=localhost,port=9", None, SocketKinds::Inet),
    ] {
        let tcti = Tcti::parse(text).unwrap();
        assert_eq!((tcti.device(), tcti.sockets()), (device, sockets), "{text}");
    }
}

#[test]
fn what_the_library_would_misread_is_refused() {
    for (text, what, hint) in [
        (
            "swtpm:path=/run/tpm.sock",
            "`path` is not known",
            "host=127.0.0.1",
        ),
        ("swtpm:", "both must be said", "port=2321"),
        ("swtpm", "not where it is", "port=2321"),
        ("swtpm:host=localhost", "both must be said", ""),
        ("swtpm:port=2321", "both must be said", ""),
        ("swtpm:host=a,host=b,port=1", "`host` is there twice", ""),
        ("swtpm:host=localhost,port=1,", "`` is not NAME=VALUE", ""),
        ("swtpm:Host=localhost,port=1", "`Host` is not known", ""),
        (
            "swtpm:host=example.org,port=1",
            "neither localhost nor",
            "address",
        ),
        ("swtpm:host=,port=1", "neither localhost nor", ""),
        ("swtpm:host=[::1],port=1", "neither localhost nor", ""),
        (
            "swtpm:host=fe80::1%eth0,port=1",
            "neither localhost nor",
            "",
        ),
        ("swtpm:host=localhost,port=", "is no port", ""),
        ("swtpm:host=localhost,port=0", "is no port", "1 to 65534"),
        ("swtpm:host=localhost,port=65535", "is no port", "next one"),
        ("swtpm:host=localhost,port=65536", "is no port", ""),
        ("swtpm:host=localhost,port=+5", "is no port", ""),
        ("swtpm:host=localhost,port=05", "is no port", ""),
        ("swtpm:host=localhost,port=2321=1", "is no port", ""),
        ("mssim:", "`mssim`", "swtpm"),
        ("mssim:host=localhost,port=2321", "`mssim`", "swtpm"),
        ("device", "not where it is", "device:/dev/tpmrm0"),
        ("device:", "begins with /dev/", ""),
        ("device:tpm0", "begins with /dev/", ""),
        ("device:/tmp/tpm0", "begins with /dev/", ""),
        ("device:/dev/", "an empty part", ""),
        ("device:/dev/../etc/shadow", "`..`", ""),
        ("device:/dev/./tpm0", "`.`", ""),
        ("device:/dev//tpm0", "an empty part", ""),
        ("tabrmd", "not where it is", "\"tabrmd:\""),
        ("tabrmd:bus_name=a", "no name on a bus", ""),
        ("tabrmd:bus_name=", "no name on a bus", ""),
        ("tabrmd:bus_name=a..b", "no name on a bus", ""),
        ("tabrmd:bus_name=1.b", "no name on a bus", ""),
        ("tabrmd:bus_name=:1.5", "no name on a bus", ""),
        ("tabrmd:bus_type=user", "`user` is no bus", "session"),
        ("tabrmd:address=unix", "`address` is not known", ""),
        ("/dev/tpmrm0", "a path", "device:/dev/tpmrm0"),
        ("cmd:sh", "`cmd` drives no TPM", ""),
        ("libtss2-tcti-device.so.0:/dev/tpm0", "drives no TPM", ""),
        ("DEVICE:/dev/tpm0", "`DEVICE` drives no TPM", ""),
        ("", "is not the way", "device:/dev/tpmrm0"),
        (" device:/dev/tpm0", "the character", ""),
        ("device:/dev/tpm0\n", "the character", ""),
        ("device:/dev/tpm\0", "the character", ""),
        ("device:/dev/tpmé", "the character", ""),
    ] {
        let error = Tcti::parse(text).expect_err(text);
        assert!(error.what.contains(what), "{text}: {error}");
        assert!(error.hint.contains(hint), "{text}: {}", error.hint);
    }
    let long = format!("device:/dev/{}", "a".repeat(MOST));
    assert!(Tcti::parse(&long).is_err());
}

proptest! {
    #[test]
    fn what_is_taken_is_the_same_when_it_is_read_again(
        text in "(device:|tabrmd:|swtpm:)?((host|port|path|bus_name|bus_type|/dev)[=/]?[a-z0-9.:/]{0,12},?){0,3}"
    ) {
        if let Ok(tcti) = Tcti::parse(&text) {
            prop_assert_eq!(Tcti::parse(&tcti.to_string()), Ok(tcti));
        }
    }
}
