//! The values that have a syntax of their own: durations, paths, names.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use super::error::Wrong;

/// `"60us"`, `"5ms"`, `"30s"`, `"5m"`.
pub(super) fn duration(field: &Spanned<String>) -> Result<Duration, Wrong> {
    let text = field.get_ref();
    let digits = text
        .len()
        .saturating_sub(text.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let (number, unit) = text.split_at_checked(digits).unwrap_or_default();
    let number: Option<u64> = number.parse().ok();
    let duration = number.and_then(|number| match unit {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        _ => None,
    });
    duration.ok_or_else(|| {
        Wrong::new(
            field.span(),
            format!("`{}` is no duration", text.escape_debug()),
        )
        .hint("a whole number and us, ms, s or m, such as \"30s\"")
    })
}

/// The longest duration that anything here has.
pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A duration within bounds.
pub(super) fn duration_within(
    field: Option<&Spanned<String>>,
    default: Duration,
    least: Duration,
    most: Duration,
) -> Result<Duration, Wrong> {
    let Some(field) = field else {
        return Ok(default);
    };
    let duration = duration(field)?;
    if duration < least || duration > most {
        let what = format!("{duration:?} is not between {least:?} and {most:?}");
        return Err(Wrong::new(field.span(), what).hint(format!("the default is {default:?}")));
    }
    Ok(duration)
}

/// A number within bounds.
pub(super) fn number_within(
    field: Option<&Spanned<u32>>,
    default: u32,
    least: u32,
    most: u32,
) -> Result<u32, Wrong> {
    let Some(field) = field else {
        return Ok(default);
    };
    let number = *field.get_ref();
    if number < least || number > most {
        let what = format!("{number} is not between {least} and {most}");
        return Err(Wrong::new(field.span(), what).hint(format!("the default is {default}")));
    }
    Ok(number)
}

/// An absolute path without `..`.
pub(super) fn path(field: &Spanned<String>) -> Result<PathBuf, Wrong> {
    let text = field.get_ref();
    let wrong = |what: &str| Wrong::new(field.span(), format!("the path {what}"));
    if text.starts_with('~') {
        return Err(wrong("begins with `~`, which only a shell expands").hint("write it from / on"));
    }
    if text.contains('$') {
        return Err(
            wrong("has a `$`, and variables are not expanded here").hint("write it from / on")
        );
    }
    if text.contains('\0') {
        return Err(wrong("has a NUL character"));
    }
    let path = Path::new(text);
    if !path.is_absolute() {
        return Err(wrong("is relative").hint("write it from / on"));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(wrong("has a `..`").hint("write it without"));
    }
    Ok(path.to_owned())
}

/// A path that holds a regular file.
pub(super) fn existing_file(field: &Spanned<String>) -> Result<PathBuf, Wrong> {
    let path = path(field)?;
    match std::fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(path),
        Ok(_) => Err(Wrong::new(
            field.span(),
            format!("{} is no file", path.display()),
        )),
        Err(error) => Err(Wrong::new(
            field.span(),
            format!("{} cannot be opened: {error}", path.display()),
        )
        .hint("find / -name '*pkcs11*.so' -o -name 'libsofthsm2.so' 2>/dev/null")),
    }
}

/// A token's name goes into command lines, file names and log lines.
pub(super) fn check_token_name(field: &Spanned<String>) -> Result<(), Wrong> {
    let name = field.get_ref();
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let good = name.len() <= 32
        && name.starts_with(lower)
        && name.chars().all(|c| lower(c) || c == '_' || c == '-');
    if good {
        return Ok(());
    }
    Err(Wrong::new(
        field.span(),
        format!("`{}` is no name for a token", name.escape_debug()),
    )
    .hint("1 to 32 of a-z, 0-9, _ and -, and a letter or digit first"))
}

/// A file's name inside `$CREDENTIALS_DIRECTORY`.
pub(super) fn check_credential_name(field: &Spanned<String>) -> Result<(), Wrong> {
    let name = field.get_ref();
    let good = !name.is_empty()
        && name.len() <= 255
        && !matches!(name.as_str(), "." | "..")
        && name
            .chars()
            .all(|c| c.is_ascii_graphic() && c != '/' && c != ':');
    if good {
        return Ok(());
    }
    Err(Wrong::new(field.span(), "this is no name of a credential")
        .hint("the name in LoadCredential=NAME:/path of the unit"))
}

/// A variable's name and value.
pub(super) fn check_variable(name: &Spanned<String>, value: &Spanned<String>) -> Result<(), Wrong> {
    if name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']) {
        return Err(Wrong::new(
            name.span(),
            "this is no name of an environment variable",
        ));
    }
    if value.get_ref().contains('\0') {
        return Err(Wrong::new(value.span(), "the value has a NUL character"));
    }
    Ok(())
}
