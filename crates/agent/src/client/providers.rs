//! The config providers of a worker file (KIP-297, KIP-632, KIP-887, KIP-993): where the values lie that
//! `${provider:path:key}` stands for.
//!
//! Kafka leaves a reference as it is when its provider or its key is not there, and would log in with that text. Here
//! it is an error, which names the reference and never a value.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use copyist_model::properties::Properties;
use copyist_model::reference::{Piece, Reference, pieces};

/// Longer files are nobody's secrets.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A provider, as its keys in the worker file describe it.
#[derive(Debug, Clone)]
pub enum Provider {
    /// `FileConfigProvider`: the path is a property file.
    File(AllowedPaths),
    /// `DirectoryConfigProvider`: the path is a directory, and the key a file in it, whose whole text is the value.
    Directory(AllowedPaths),
    /// `EnvVarConfigProvider`: the key is a variable of the process's environment. With a pattern, its name must
    /// hold a match of it.
    EnvVar { variables: Variables, allowed: Option<fancy_regex::Regex> },
}

/// A process's environment, as it was at its start. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Variables(Arc<BTreeMap<OsString, OsString>>);

impl FromIterator<(OsString, OsString)> for Variables {
    fn from_iter<I: IntoIterator<Item = (OsString, OsString)>>(variables: I) -> Self {
        Self(Arc::new(variables.into_iter().collect()))
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

/// `allowed.paths`: below which paths a provider may read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedPaths(Option<Vec<PathBuf>>);

impl AllowedPaths {
    /// Reads a list separated by commas; a blank one allows every path.
    ///
    /// # Errors
    /// One text for each path that is not absolute.
    pub fn read(list: &str) -> Result<Self, Vec<String>> {
        let paths: Vec<&Path> =
            list.split(',').map(str::trim).filter(|path| !path.is_empty()).map(Path::new).collect();
        let relative: Vec<_> = paths.iter().filter(|path| !path.is_absolute()).collect();
        if relative.is_empty() {
            let paths: Vec<PathBuf> = paths.into_iter().map(normalized).collect();
            return Ok(Self(Some(paths).filter(|paths| !paths.is_empty())));
        }
        Err(relative.iter().map(|path| format!("{} must be an absolute path", path.display())).collect())
    }

    /// The path to read, if it may be read: as Kafka does by its text, without a look at what it leads to.
    fn allow(&self, path: &str) -> Option<PathBuf> {
        let Some(allowed) = &self.0 else { return Some(PathBuf::from(path)) };
        let path = normalized(Path::new(path));
        allowed.iter().any(|allowed| path.starts_with(allowed)).then_some(path)
    }
}

fn normalized(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => (),
            // Above the root is the root.
            Component::ParentDir if normal.parent().is_some() => drop(normal.pop()),
            Component::ParentDir if normal.has_root() => (),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) | Component::ParentDir => {
                normal.push(component);
            }
        }
    }
    normal
}

/// A reference that stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reference} cannot be resolved: {why}")]
pub struct Unresolved {
    pub reference: Reference,
    pub why: String,
}

/// Where a value lies.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place<'r> {
    Property { file: PathBuf, key: &'r str },
    Content(PathBuf),
    Variable { name: &'r str, value: Option<&'r OsString> },
}

/// The providers of a worker file, by name.
#[derive(Debug, Clone, Default)]
pub struct Providers(BTreeMap<String, Provider>);

impl Providers {
    #[must_use]
    pub fn new(by_name: BTreeMap<String, Provider>) -> Self {
        Self(by_name)
    }

    /// The value with what its references stand for now; nothing, when it has none. Reads files: blocks.
    ///
    /// # Errors
    /// Every reference that cannot be resolved.
    pub fn resolve(&self, value: &str) -> Result<Option<String>, Vec<Unresolved>> {
        let pieces = pieces(value);
        if pieces.iter().all(|piece| matches!(piece, Piece::Text(_))) {
            return Ok(None);
        }
        let mut resolved = String::new();
        let mut unresolved = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => resolved.push_str(text),
                Piece::Reference(reference) => match self.locate(&reference).and_then(|place| place.read()) {
                    Ok(text) => resolved.push_str(&text),
                    Err(why) => unresolved.push(Unresolved { reference, why }),
                },
            }
        }
        if unresolved.is_empty() { Ok(Some(resolved)) } else { Err(unresolved) }
    }

    fn locate<'r>(&'r self, reference: &'r Reference) -> Result<Place<'r>, String> {
        let Reference { provider: name, path, key } = reference;
        let Some(provider) = self.0.get(name) else { return Err(self.stranger(name)) };
        let allowed_path = |allowed: &AllowedPaths| match path.as_str() {
            "" => Err(format!("it has no path; write ${{{name}:/path:{key}}}")),
            path => allowed
                .allow(path)
                .ok_or_else(|| format!("its path is not below config.providers.{name}.param.allowed.paths")),
        };
        match provider {
            Provider::File(allowed) => Ok(Place::Property { file: allowed_path(allowed)?, key }),
            // A name of a file, and no way to elsewhere.
            Provider::Directory(allowed) if Path::new(key).file_name() == Some(key.as_ref()) => {
                Ok(Place::Content(allowed_path(allowed)?.join(key)))
            }
            Provider::Directory(_) => Err(format!("{key} is no name of a file")),
            Provider::EnvVar { .. } if !path.is_empty() => {
                Err(format!("variables have no path; write ${{{name}:{key}}}"))
            }
            // An expression that gives up on a name (too much backtracking) does not allow it.
            Provider::EnvVar { allowed: Some(pattern), .. } if !pattern.is_match(key).unwrap_or(false) => {
                Err(format!("config.providers.{name}.param.allowlist.pattern does not allow {key}"))
            }
            Provider::EnvVar { variables, .. } => {
                Ok(Place::Variable { name: key, value: variables.0.get(OsStr::new(key)) })
            }
        }
    }

    fn stranger(&self, name: &str) -> String {
        let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        match names.is_empty() {
            true => format!("the worker file names no provider {name}, since it has no config.providers"),
            false => format!(
                "config.providers of the worker file names no provider {name}, only {}",
                names.join(", ")
            ),
        }
    }
}

impl Place<'_> {
    fn read(&self) -> Result<String, String> {
        match self {
            Self::Property { file, key } => {
                let unread = |why: String| format!("{} {why}", file.display());
                let text = read_file(file).map_err(unread)?;
                // Malformed lines are told by their numbers alone.
                let properties = Properties::parse_utf8(&text)
                    .map_err(|wrong| unread(format!("is no property file: line {}", wrong[0].line)))?;
                let entry = properties.entries.get(*key);
                Ok(entry.ok_or_else(|| unread(format!("has no key {key}")))?.value.clone())
            }
            Self::Content(path) => {
                let unread = |why: String| format!("{} {why}", path.display());
                let text = read_file(path).map_err(unread)?;
                String::from_utf8(text).map_err(|_| unread("is no text in UTF-8".to_owned()))
            }
            Self::Variable { name, value } => {
                let value = value.ok_or_else(|| format!("the agent's process has no variable {name}"))?;
                let text = value.to_str().map(str::to_owned);
                text.ok_or_else(|| format!("the variable {name} is no text in UTF-8"))
            }
        }
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    // Not a pipe, which nobody may ever write to.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err("is no file".to_owned());
    }
    let mut text = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    match text.len() as u64 > FILE_BYTES_MAX {
        true => Err(format!("has more than {FILE_BYTES_MAX} bytes")),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn providers(dir: &Path) -> Providers {
        let allowed = || AllowedPaths::read(&dir.join("in").display().to_string()).unwrap();
        let pattern = fancy_regex::Regex::new("^PATH$|^COPYIST_").unwrap();
        Providers::new(
            [
                ("file", Provider::File(AllowedPaths::default())),
                ("dir", Provider::Directory(AllowedPaths::default())),
                ("env", Provider::EnvVar { variables: variables(), allowed: None }),
                ("kept-file", Provider::File(allowed())),
                ("kept-dir", Provider::Directory(allowed())),
                ("kept-env", Provider::EnvVar { variables: variables(), allowed: Some(pattern) }),
            ]
            .map(|(name, provider)| (name.to_owned(), provider))
            .into(),
        )
    }

    fn variables() -> Variables {
        let bytes = OsString::from_vec(vec![0xff]);
        [("PATH", "/bin".into()), ("HOME", "/root".into()), ("BYTES", bytes)]
            .map(|(name, value)| (name.into(), value))
            .into_iter()
            .collect()
    }

    fn files() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("in")).unwrap();
        for place in ["in/s.properties", "s.properties"] {
            fs::write(dir.path().join(place), "# secrets\npassword = pä:ss\\\n  word\nempty=\n").unwrap();
        }
        fs::write(dir.path().join("in/token"), "abc\n").unwrap();
        fs::write(dir.path().join("bad.properties"), "hunter2=\\u12\n").unwrap();
        fs::write(dir.path().join("bytes"), [0xff]).unwrap();
        fs::write(dir.path().join("long"), vec![b'x'; (1 << 20) + 1]).unwrap();
        dir
    }

    #[test]
    fn references_stand_for_what_files_and_variables_hold() {
        let dir = files();
        let at = dir.path().display();
        let rows = [
            (format!("${{file:{at}/s.properties:password}}"), "pä:ssword".to_owned()),
            (format!("<${{file:{at}/in/s.properties:password}}>${{env:PATH}}"), "<pä:ssword>/bin".to_owned()),
            (format!("${{file:{at}/s.properties:empty}}"), String::new()),
            (format!("${{dir:{at}/in:token}}"), "abc\n".to_owned()),
            (format!("${{kept-file:{at}/./x/../in/s.properties:password}}"), "pä:ssword".to_owned()),
            (format!("${{kept-dir:{at}/in:token}}"), "abc\n".to_owned()),
            ("${kept-env:PATH}".to_owned(), "/bin".to_owned()),
        ];
        for (value, expected) in rows {
            assert_eq!(providers(dir.path()).resolve(&value), Ok(Some(expected)), "{value}");
        }
        assert_eq!(providers(dir.path()).resolve("plain ${topic}"), Ok(None));
    }

    #[test]
    fn what_stands_for_nothing_is_named_with_the_reason() {
        let dir = files();
        let at = dir.path().display();
        let rows = [
            ("${vault:a:b}".to_owned(), "names no provider vault, only dir, env, file, kept-dir"),
            (format!("${{file:{at}/none:k}}"), "none cannot be read: No such file"),
            (format!("${{file:{at}/in:k}}"), "in is no file"),
            (format!("${{file:{at}/s.properties:k}}"), "s.properties has no key k"),
            (format!("${{file:{at}/bad.properties:k}}"), "bad.properties is no property file: line 1"),
            (format!("${{file:{at}/long:k}}"), "has more than 1048576 bytes"),
            ("${file:k}".to_owned(), "it has no path; write ${file:/path:k}"),
            ("${dir:k}".to_owned(), "it has no path; write ${dir:/path:k}"),
            (format!("${{dir:{at}/in:../s.properties}}"), "../s.properties is no name of a file"),
            (format!("${{dir:{at}:in}}"), "in is no file"),
            (format!("${{dir:{at}:bytes}}"), "bytes is no text in UTF-8"),
            (format!("${{kept-file:{at}/in/../s.properties:password}}"), "kept-file.param.allowed.paths"),
            (format!("${{kept-dir:{at}:bytes}}"), "kept-dir.param.allowed.paths"),
            ("${env:COPYIST_NONE}".to_owned(), "has no variable COPYIST_NONE"),
            ("${env:BYTES}".to_owned(), "the variable BYTES is no text in UTF-8"),
            ("${env:/p:K}".to_owned(), "variables have no path; write ${env:K}"),
            ("${kept-env:HOME}".to_owned(), "kept-env.param.allowlist.pattern does not allow HOME"),
        ];
        for (value, expected) in rows {
            let unresolved = providers(dir.path()).resolve(&value).unwrap_err();
            let [told] = &unresolved[..] else { panic!("{unresolved:?}") };
            let told = told.to_string();
            assert!(told.starts_with(&format!("{value} cannot be resolved: ")), "{told}");
            assert!(told.contains(expected) && !told.contains("hunter2"), "{told}");
        }
        assert!(!format!("{:?}", providers(dir.path())).contains("/root"));
        let none = Providers::default().resolve("${file:/a:b} ${env:K}").unwrap_err();
        assert!(none.len() == 2 && none[0].why.contains("it has no config.providers"), "{none:?}");
    }

    #[test]
    fn allowed_paths_are_absolute_and_whole_names() {
        assert_eq!(AllowedPaths::read(" , "), Ok(AllowedPaths::default()));
        let wrong = AllowedPaths::read("/a,b,c/d").unwrap_err();
        assert_eq!(wrong, ["b must be an absolute path", "c/d must be an absolute path"]);
        let allowed = AllowedPaths::read("/a/./b, /c/../d").unwrap();
        let rows = [
            ("/a/b", true),
            ("/a/b/c", true),
            ("/a/bc", false),
            ("/d/x", true),
            ("/c/x", false),
            ("/a/b/../x", false),
            ("/../a/b", true),
            ("a/b", false),
            ("../a/b", false),
        ];
        for (path, expected) in rows {
            assert_eq!(allowed.allow(path).is_some(), expected, "{path}");
        }
        // A link before the `..` would lead elsewhere than the text that was looked at.
        assert_eq!(allowed.allow("/a/b/x/../c"), Some("/a/b/c".into()));
        assert_eq!(AllowedPaths::default().allow("x/../y"), Some("x/../y".into()));
    }
}
