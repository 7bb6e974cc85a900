//! The process.

use super::*;

#[test]
fn inside_the_worker_the_module_reaches_only_what_is_listed() {
    let hsm = SoftHsm::new();
    let faults = FaultModule::new(&hsm);
    let secret = hsm.dir().join("secret");
    fs::write(&secret, "not for the module").unwrap();
    let probe = Fault::Probe(vec![secret.clone(), "/etc/passwd".into(), hsm.conf()]);
    for call in ["C_Initialize", "C_GenerateRandom"] {
        faults.set(call, &probe);
    }
    let mut worker = Worker::ready(&hsm, Some(&faults));
    assert!(matches!(worker.call(Work::Random(1)), Outcome::Secret(_)));
    // At once when it is loaded, and in a thread that serves.
    for call in ["C_Initialize", "C_GenerateRandom"] {
        let probed = faults.probed(call).unwrap();
        let result = |what: String| probed[&what].as_str();
        assert_eq!(result(format!("open {}", secret.display())), "EACCES");
        assert_eq!(result("open /etc/passwd".to_owned()), "EACCES");
        assert_eq!(result(format!("open {}", hsm.conf().display())), "ok");
        assert_eq!(result(format!("write {}", hsm.conf().display())), "EACCES");
        for what in ["socket inet", "socket unix", "execve"] {
            assert_eq!(result(what.to_owned()), "EPERM", "{what}");
        }
    }
    let report = worker.open().unwrap();
    assert!(
        report
            .protections
            .iter()
            .any(|p| p.name == "files" && p.holds)
    );
    assert!(
        report
            .protections
            .iter()
            .any(|p| p.name == "system calls" && p.holds)
    );
}

#[test]
fn the_end_of_the_connection_ends_the_worker_and_finalizes_the_module_once() {
    let mut rig = Rig::ready();
    rig.worker.hang_up();
    assert!(rig.worker.ended().success());
    assert_eq!(rig.faults.calls("C_Finalize"), 1);
}

#[test]
fn a_module_that_hangs_does_not_keep_the_worker_alive() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    rig.faults.set("C_Sign", &Fault::Hang);
    rig.worker.send(sign(id));
    assert!(wait_for(|| rig.faults.calls("C_Sign") == 1, LIMIT));
    rig.worker.hang_up();
    assert!(rig.worker.ended().success());
    assert_eq!(rig.faults.calls("C_Finalize"), 0);
}

#[test]
fn a_hanging_call_delays_no_other() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    rig.faults.set("C_Sign", &Fault::Hang);
    let hanging = rig.worker.send(sign(id));
    assert!(wait_for(|| rig.faults.calls("C_Sign") == 1, LIMIT));
    for _ in 0..8 {
        assert!(matches!(
            rig.worker.call(Work::Random(8)),
            Outcome::Secret(_)
        ));
    }
    rig.faults.clear("C_Sign");
    assert!(matches!(
        rig.worker.receive(hanging),
        Some(Outcome::Signature(_))
    ));
}

#[test]
fn a_crash_of_the_module_is_the_end_of_the_worker_only() {
    let mut rig = Rig::ready();
    let (id, _) = rig.worker.generate(KeyType::P256, Purpose::Sign).unwrap();
    rig.faults.set("C_Sign", &Fault::Crash);
    let call = rig.worker.send(sign(id));
    assert_eq!(rig.worker.receive(call), None);
    assert!(!rig.worker.ended().success());
    let mut worker = Worker::ready(&rig.hsm, Some(&rig.faults));
    assert!(worker.sign(id, Algorithm::Esp256, MESSAGE).is_ok());
}

#[test]
fn a_packet_that_is_no_call_ends_the_worker() {
    let whole = minicbor::to_vec(Call {
        id: 1,
        work: Work::Random(1),
        expected: None,
    })
    .unwrap();
    let longer = [whole.as_slice(), &[0]].concat();
    for packet in [&[0xff][..], &whole[..whole.len() - 1], &longer] {
        let hsm = SoftHsm::new();
        let mut worker = Worker::start(&hsm, None);
        worker.open().unwrap();
        worker.send_bytes(packet);
        assert_eq!(worker.ended().code(), Some(1));
    }
}

#[test]
fn the_program_says_what_it_is_and_what_it_is_not() {
    let run = |arguments: &[&str]| {
        Command::new(worker::program())
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let help = run(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"keyward-worker: "));
    let version = run(&["--version"]);
    assert!(version.status.success() && version.stdout.starts_with(b"keyward-worker 0."));
    for arguments in [&["tpm", "x"][..], &[], &["pkcs11"], &["pkcs11", "test"]] {
        let refused = run(arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}");
        let text = String::from_utf8(refused.stderr).unwrap();
        assert!(
            text.contains("error: ") && text.contains("hint: "),
            "{text}"
        );
    }
}
