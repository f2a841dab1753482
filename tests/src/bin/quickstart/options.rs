//! What the script hands over.

use std::ffi::OsString;
use std::path::PathBuf;

#[derive(Debug, PartialEq, Eq)]
pub struct Options {
    /// Of this run: data, logs, configuration.
    pub dir: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// Leave everything running at the end.
    pub keep: bool,
}

impl Options {
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Options, String> {
        let (mut dir, mut target, mut keep) = (None, None, false);
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--dir") => dir = arguments.next().map(PathBuf::from),
                Some("--target") => target = arguments.next().map(PathBuf::from),
                Some("--keep") => keep = true,
                Some(_) | None => return Err(format!("unknown argument {}", argument.display())),
            }
        }
        match (dir, target) {
            (Some(dir), Some(target)) => Ok(Options { dir, target, keep }),
            (Some(_) | None, Some(_) | None) => {
                Err("run deploy/quickstart, which gives this program its --dir and --target".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_script_gives_and_nothing_else() {
        let parse = |line: &str| Options::parse(line.split_whitespace().map(OsString::from));
        let expected = Options { dir: "/d".into(), target: "/t".into(), keep: true };
        assert_eq!(parse("--dir /d --target /t --keep"), Ok(expected));
        assert!(parse("--dir /d").is_err() && parse("--dir").is_err());
        assert_eq!(parse("--dir /d --target /t --kept"), Err("unknown argument --kept".to_owned()));
    }
}
