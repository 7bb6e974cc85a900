//! Every mistake that the file can have, and how it is shown.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::{Case, TOKEN};

/// Text, line and column, a part of what is said, a part of the hint.
const MISTAKES: &[(&str, (usize, usize), &str, &str)] = &[
    // shape
    (
        "mode = \"usr\"",
        (1, 8),
        "unknown value `usr`",
        "did you mean `user`?",
    ),
    (
        "log = \"loud\"",
        (1, 7),
        "unknown value `loud`",
        "write error or warn",
    ),
    ("mode = 1", (1, 8), "a word in quotes", ""),
    (
        "colour = 1",
        (1, 1),
        "unknown field `colour`",
        "known here: mode, socket",
    ),
    (
        "log = \"info\"\nlog = \"warn\"",
        (2, 1),
        "duplicate key",
        "",
    ),
    (
        "[limits]\nconections = 1",
        (2, 1),
        "unknown field `conections`",
        "`connections`",
    ),
    ("[limits]\nqueue = \"9\"", (2, 9), "invalid type", ""),
    ("[limits]\nqueue = -1", (2, 9), "invalid value", ""),
    ("socket = \"/x", (1, 13), "invalid basic string", ""),
    ("socket", (1, 7), "", ""),
    (
        "[token.main]\nuri = \"pkcs11:token=x\"",
        (1, 1),
        "missing field `kind`",
        "",
    ),
    (
        "[token.main]\nkind = \"pkcs12\"",
        (2, 8),
        "unknown value `pkcs12`",
        "`pkcs11`",
    ),
    ("token = 4", (1, 9), "invalid type", ""),
    // paths
    ("socket = \"~/x\"", (1, 10), "begins with `~`", "from / on"),
    (
        "socket = \"$HOME/x\"",
        (1, 10),
        "variables are not expanded",
        "from / on",
    ),
    ("state = \"var\"", (1, 9), "relative", "from / on"),
    ("state = \"/var/../etc\"", (1, 9), "`..`", ""),
    // policy
    (
        "[policy]\nallow = []",
        (1, 1),
        "in user mode nobody but",
        "mode = \"system\"",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{ uid = 1, gid = 2 }]",
        (3, 10),
        "one of uid",
        "each allows",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{}]",
        (3, 10),
        "one of uid",
        "",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{ group = \"no such\" }]",
        (3, 20),
        "no group `no such`",
        "groupadd",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{ unit = \"web\" }]",
        (3, 19),
        "`web` is no name",
        "web.service",
    ),
    (
        "mode = \"system\"\n[policy]\nallow = [{ user = 1 }]",
        (3, 12),
        "unknown field `user`",
        "",
    ),
    // limits
    (
        "[limits]\nconnections = 0",
        (2, 15),
        "0 is not between 1 and",
        "default is 2048",
    ),
    (
        "[limits]\ndeadline = \"30\"",
        (2, 12),
        "`30` is no duration",
        "\"30s\"",
    ),
    (
        "[limits]\ndeadline = \"1h\"",
        (2, 12),
        "`1h` is no duration",
        "",
    ),
    (
        "[limits]\ndeadline = \"99999999999999999999s\"",
        (2, 12),
        "is no duration",
        "",
    ),
    (
        "[limits]\ndeadline = \"10m\"",
        (2, 12),
        "longer than max_deadline",
        "",
    ),
    ("[limits]\nhello = \"0s\"", (2, 9), "not between", ""),
];

#[test]
fn every_mistake_is_shown_in_its_place() {
    let case = Case::new();
    for (text, (line, column), what, hint) in MISTAKES {
        let mistake = case.mistake(text);
        assert_eq!(
            (mistake.line, mistake.column),
            (*line, *column),
            "{text}: {mistake}"
        );
        assert!(mistake.what.contains(what), "{text}: {mistake}");
        assert!(
            mistake.hint.clone().unwrap_or_default().contains(hint),
            "{text}: {mistake}"
        );
        assert!(
            !mistake.what.is_empty() && mistake.width > 0 || mistake.line > 0,
            "{text}"
        );
    }
}

/// A line that is added to a token, and parts of what is said and hinted.
const TOKEN_MISTAKES: &[(&str, &str, &str)] = &[
    ("threads = 0", "0 is not between 1 and 64", "default is 4"),
    ("threads = 65", "65 is not between", ""),
    (
        "spin = \"1s\"",
        "1s is not between 0ns and 10ms",
        "default is 0",
    ),
    ("timeout = \"1ms\"", "not between", ""),
    (
        "spni = \"1us\"",
        "unknown field `spni`",
        "did you mean `spin`?",
    ),
    (
        "sockets = \"tcp\"",
        "unknown value `tcp`",
        "none or unix or inet",
    ),
    ("read = [\"etc\"]", "relative", ""),
    ("write = \"/etc\"", "invalid type", ""),
    (
        "environment = { \"A=B\" = \"x\" }",
        "no name of an environment variable",
        "",
    ),
    ("environment = { A = 1 }", "invalid type", ""),
    ("pin = { file = \"pin\" }", "relative", ""),
    (
        "pin = { credential = \"../pin\" }",
        "no name of a credential",
        "LoadCredential",
    ),
    (
        "pin = { file = \"/a\", credential = \"b\" }",
        "from a file or from a credential",
        "",
    ),
    ("pin = {}", "from a file or from a credential", ""),
    (
        "pin = { fiel = \"/a\" }",
        "unknown field `fiel`",
        "did you mean `file`?",
    ),
    ("pin = true", "invalid type", ""),
];

#[test]
fn every_mistake_of_a_token_is_shown_in_its_place() {
    let case = Case::new();
    for (line, what, hint) in TOKEN_MISTAKES {
        let mistake = case.mistake(&format!("{TOKEN}{line}\n"));
        assert_eq!(mistake.line, 5, "{line}: {mistake}");
        assert!(mistake.what.contains(what), "{line}: {mistake}");
        assert!(
            mistake.hint.clone().unwrap_or_default().contains(hint),
            "{line}: {mistake}"
        );
    }
}

#[test]
fn a_name_that_is_not_fit_for_a_file_is_no_token() {
    let case = Case::new();
    for name in [
        "Main",
        "-a",
        "_a",
        "a.b",
        "a/b",
        "",
        "é",
        "a b",
        &"a".repeat(33),
    ] {
        let mistake = case.mistake(&TOKEN.replace("main", &format!("\"{name}\"")));
        assert_eq!((mistake.line, mistake.column), (1, 8), "{mistake}");
        assert!(mistake.what.contains("is no name for a token"), "{mistake}");
    }
    for name in ["a", "0", "a-b_c", &"a".repeat(32)] {
        case.load(&TOKEN.replace("main", name)).unwrap();
    }
}

#[test]
fn a_module_must_be_there_and_a_uri_must_be_given() {
    let case = Case::new();
    let mistake = case.mistake(&TOKEN.replace("MODULE", "/nowhere/x.so"));
    assert_eq!((mistake.line, mistake.column), (3, 10));
    assert!(
        mistake.what.contains("/nowhere/x.so cannot be opened"),
        "{mistake}"
    );
    let mistake = case.mistake(&TOKEN.replace("MODULE", "/etc"));
    assert!(mistake.what.contains("is no file"), "{mistake}");
    for (field, line) in [
        ("module", "module = \"MODULE\"\n"),
        ("uri", "uri = \"pkcs11:token=demo\"\n"),
    ] {
        let mistake = case.mistake(&TOKEN.replace(line, ""));
        assert!(
            mistake.what.contains(&format!("needs `{field}`")),
            "{mistake}"
        );
        assert_eq!(mistake.line, 1);
    }
}

/// A URI and a part of what is said.
const URIS: &[(&str, &str)] = &[
    ("pkcs12:token=a", "does not begin with `pkcs11:`"),
    ("pkcs11:", "is not NAME=VALUE"),
    ("pkcs11:token", "is not NAME=VALUE"),
    ("pkcs11:token=", "is empty"),
    ("pkcs11:token=a;token=b", "there twice"),
    ("pkcs11:token=a;", "is not NAME=VALUE"),
    ("pkcs11:tokn=a", "`tokn` is no attribute"),
    ("pkcs11:token=a;object=b", "`object` names a key"),
    ("pkcs11:token=a b", "percent-encoded"),
    ("pkcs11:token=a%2", "percent-encoded"),
    ("pkcs11:token=a%zz", "percent-encoded"),
    ("pkcs11:token=a%é", "percent-encoded"),
    ("pkcs11:token=%ff", "not UTF-8"),
    ("pkcs11:slot-id=x", "no number"),
    (
        "pkcs11:serial=01234567890123456",
        "longer than the 16 bytes",
    ),
    ("pkcs11:token=a?module-path=/x", "after `?`"),
];

#[test]
fn a_uri_names_a_token_and_nothing_else() {
    let case = Case::new();
    for (uri, what) in URIS {
        let mistake = case.mistake(&TOKEN.replace("pkcs11:token=demo", uri));
        assert_eq!((mistake.line, mistake.column), (4, 7), "{uri}");
        assert!(mistake.what.contains(what), "{uri}: {mistake}");
    }
    for uri in [
        "pkcs11:token=My%20Token;serial=01;model=x;manufacturer=y%3B",
        "pkcs11:slot-id=0",
    ] {
        case.load(&TOKEN.replace("pkcs11:token=demo", uri)).unwrap();
    }
}

#[test]
fn a_pin_that_stands_in_the_file_is_refused_and_not_shown() {
    let case = Case::new();
    let lines = [
        "pin = \"4711\"",
        "pin = 4711",
        "pin = 4711.5",
        "pin = 04711",
        "pin = 4711x",
        "pin = \"4711",
        "pin=\"\"\"4711\n4711\"\"\"",
    ];
    for line in lines {
        let error = case.load(&format!("{TOKEN}{line}\n")).expect_err(line);
        assert!(!format!("{error} {error:?}").contains("4711"), "{error}");
    }
    for uri in [
        "pkcs11:token=a?pin-value=4711",
        "pkcs11:token=a;pin-value=4711",
        "pkcs11:token=a?a=b&pin-value=4711",
    ] {
        let mistake = case.mistake(&TOKEN.replace("pkcs11:token=demo", uri));
        assert!(
            !format!("{mistake} {mistake:?}").contains("4711"),
            "{mistake}"
        );
        assert!(
            mistake.what.contains("does not belong into a URI"),
            "{mistake}"
        );
    }
}

#[test]
fn carets_stand_below_wide_letters_and_tabs_and_control_characters_are_not_shown() {
    let case = Case::new();
    let shown = case.mistake("[limits]\n\tqueue = 0").to_string();
    assert!(
        shown.ends_with("2 | \tqueue = 0\n  | \t        ^\nhint: the default is 1024"),
        "{shown}"
    );
    let mistake = case.mistake("mode = \"système\"");
    assert_eq!(mistake.width, 9);
    let shown = case.mistake("socket = \"\u{9b}2J\"").to_string();
    assert!(!shown.contains('\u{9b}'), "{shown}");
}
