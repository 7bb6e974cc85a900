use super::*;

const SMALL: Options = Options {
    segment: 1000,
    read_whole: u64::MAX,
    save_every: u64::MAX,
};
const FROM_SAVED: Options = Options {
    read_whole: 0,
    ..SMALL
};

/// A log of 40 records in several segments; its state is saved after the first `saved`.
fn log(folder: &Path, saved: usize) {
    let (audit, _) = Audit::open_with(folder, SMALL).unwrap();
    write(&audit, saved);
    if saved > 0 {
        audit.sync_now().unwrap();
    }
    write(&audit, 40 - saved);
}

/// Changes a file by its lines.
fn edit(path: &Path, edit: impl FnOnce(&mut Vec<String>)) {
    let text = fs::read_to_string(path).unwrap();
    let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
    edit(&mut lines);
    fs::write(path, lines.concat()).unwrap();
}

#[test]
fn a_line_that_is_no_record_is_named_with_its_file() {
    let edits: [fn(&mut Vec<String>); 5] = [
        |lines| lines[1] = "no JSON\n".into(),
        |lines| lines[1].truncate(30),
        |lines| lines[1] = "\n".into(),
        |lines| lines.swap(1, 2),
        |lines| drop(lines.remove(1)),
    ];
    for change in edits {
        let (_parent, folder) = folder();
        log(&folder, 0);
        let second = &segments(&folder)[1];
        edit(second, change);
        let (path, line, problem) = damage(&folder, SMALL);
        assert_eq!((&path, line), (second, 2), "{problem}");
        let words = Audit::open(&folder).unwrap_err().to_string();
        assert!(
            words.contains("line 2: ") && words.contains("move its folder away"),
            "{words}"
        );
    }
}

#[test]
fn any_flipped_bit_before_the_saved_state_is_found() {
    let (_parent, folder) = folder();
    log(&folder, 30);
    let first = &segments(&folder)[0];
    let whole = fs::read(first).unwrap();
    for n in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[n] ^= 1 << (n % 8);
        fs::write(first, flipped).unwrap();
        damage(&folder, SMALL);
    }
    fs::write(first, whole).unwrap();
    Audit::open_with(&folder, SMALL).unwrap();
}

#[test]
fn a_log_that_ends_before_its_saved_state_is_not_continued() {
    let cuts: [fn(&Path); 4] = [
        |folder| fs::remove_file(segments(folder).pop().unwrap()).unwrap(),
        |folder| edit(&segments(folder).pop().unwrap(), |lines| drop(lines.pop())),
        |folder| {
            edit(&segments(folder).pop().unwrap(), |lines| {
                lines.last_mut().unwrap().pop();
            });
        },
        |folder| {
            segments(folder)
                .iter()
                .for_each(|path| fs::remove_file(path).unwrap());
        },
    ];
    for options in [SMALL, FROM_SAVED] {
        for cut in cuts {
            let (_parent, folder) = folder();
            log(&folder, 40);
            cut(&folder);
            damage(&folder, options);
        }
    }
}

#[test]
fn a_missing_segment_is_named() {
    for options in [SMALL, FROM_SAVED] {
        let (_parent, folder) = folder();
        log(&folder, 3);
        let missing = segments(&folder).remove(1);
        fs::remove_file(&missing).unwrap();
        let (path, ..) = damage(&folder, options);
        assert_eq!(path, missing);
    }
}

#[test]
fn a_torn_line_with_a_later_segment_is_no_accident() {
    let (_parent, folder) = folder();
    log(&folder, 0);
    edit(&segments(&folder)[0], |lines| {
        lines.last_mut().unwrap().pop();
    });
    let (_, _, problem) = damage(&folder, SMALL);
    assert!(problem.contains("later segment"), "{problem}");
}

#[test]
fn a_refused_log_is_left_as_it_was() {
    let (_parent, folder) = folder();
    log(&folder, 0);
    edit(&segments(&folder)[1], |lines| lines[0] = "x\n".into());
    fs::OpenOptions::new()
        .append(true)
        .open(segments(&folder).pop().unwrap())
        .and_then(|mut file| std::io::Write::write_all(&mut file, b"torn"))
        .unwrap();
    let bytes = || -> Vec<_> {
        segments(&folder)
            .iter()
            .map(|p| fs::read(p).unwrap())
            .collect()
    };
    let before = bytes();
    damage(&folder, SMALL);
    assert_eq!(bytes(), before);
}
