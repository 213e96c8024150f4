//! What cargo's metadata says: who imports whom, under which licences, from where.

use super::spdx;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::path::Path;
use std::process::Command;

/// One of our crates, and those of our crates that it may import; `dev` with the reason.
pub struct Imports {
    pub name: &'static str,
    pub may: &'static [&'static str],
    pub dev: &'static [(&'static str, &'static str)],
}

/// Every package that is built on this platform, with its dependencies.
///
/// Packages of other platforms are not downloaded by a build; `cargo deny check` looks at those.
pub fn metadata(root: &Path) -> Metadata {
    let filter = format!("--filter-platform={}", host());
    let options = ["--locked".to_owned(), filter];
    let mut command = MetadataCommand::new();
    command.manifest_path(root.join("Cargo.toml")).other_options(options);
    command.exec().expect("reading the workspace's metadata")
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().expect("running rustc");
    let text = String::from_utf8(output.stdout).expect("reading rustc's version");
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.expect("finding the host in rustc's version").to_owned()
}

/// Edges between our crates that `table` does not hold.
pub fn import_faults(members: &[&Package], table: &[Imports]) -> Vec<String> {
    let is_ours = |name: &str| members.iter().any(|member| member.name == name);
    let mut faults = Vec::new();
    for member in members {
        let Some(row) = table.iter().find(|row| member.name == row.name) else {
            faults.push(format!("{} has no row in the table of imports", member.name));
            continue;
        };
        let ours = member.dependencies.iter().filter(|dependency| is_ours(&dependency.name));
        let refused = ours.filter(|dependency| {
            let name = dependency.name.as_str();
            let is_dev = dependency.kind == DependencyKind::Development;
            let may_in_tests = row.dev.iter().any(|(dev, _)| *dev == name);
            let is_allowed = row.may.contains(&name) || (is_dev && may_in_tests);
            !is_allowed
        });
        faults.extend(refused.map(|dependency| format!("{} imports {}", member.name, dependency.name)));
    }
    faults
}

/// Dependencies of `pure` crates whose names begin with a word of `effects`, dev-dependencies aside.
pub fn effect_faults(members: &[&Package], pure: &[&str], effects: &[&str]) -> Vec<String> {
    let pure = members.iter().filter(|member| pure.contains(&member.name.as_str()));
    let edges = pure.flat_map(|member| member.dependencies.iter().map(move |edge| (member, edge)));
    edges
        .filter(|(_, edge)| edge.kind != DependencyKind::Development)
        .filter(|(_, edge)| effects.iter().any(|effect| edge.name.starts_with(effect)))
        .map(|(member, edge)| format!("{} depends on {}", member.name, edge.name))
        .collect()
}

/// Packages whose licence neither `allowed` nor an exception (package, expression, reason) permits.
pub fn license_faults(
    packages: &[Package],
    allowed: &[&str],
    exceptions: &[(&str, &str, &str)],
) -> Vec<String> {
    let refused = packages.iter().filter(|package| {
        let license = package.license.as_deref().unwrap_or_default();
        let excepted = exceptions.iter().any(|(name, text, _)| package.name == name && license == *text);
        !spdx::permits(license, allowed) && !excepted
    });
    refused.map(|p| format!("{} {}: {:?}", p.name, p.version, p.license)).collect()
}

/// Packages that come neither from crates.io nor from this tree.
pub fn source_faults(packages: &[Package]) -> Vec<String> {
    let strange = packages.iter().filter(|p| p.source.as_ref().is_some_and(|source| !source.is_crates_io()));
    strange.map(|p| format!("{} {}", p.name, p.version)).collect()
}

/// Dependencies of our crates that are not exact.
pub fn pin_faults(members: &[&Package]) -> Vec<String> {
    let edges = members.iter().flat_map(|member| member.dependencies.iter().map(move |edge| (member, edge)));
    edges
        .filter(|(_, edge)| edge.path.is_none() && !edge.req.to_string().starts_with('='))
        .map(|(member, edge)| format!("{}: {} = {:?}", member.name, edge.name, edge.req.to_string()))
        .collect()
}

mod tests {
    use super::*;
    use serde_json::{Value, json};

    const TABLE: [Imports; 2] = [
        Imports { name: "low", may: &[], dev: &[("high", "its tests run the whole")] },
        Imports { name: "high", may: &["low"], dev: &[] },
    ];

    /// A package as cargo describes it; edges are (name, kind, requirement, path).
    fn package(
        name: &str,
        license: Option<&str>,
        source: Option<&str>,
        edges: &[[Option<&str>; 4]],
    ) -> Package {
        let edge = |[name, kind, req, path]: &[Option<&str>; 4]| {
            json!({"name": name, "kind": kind, "req": req, "path": path, "source": null, "optional": false,
                "uses_default_features": true, "features": [], "target": null, "rename": null})
        };
        let edges: Vec<Value> = edges.iter().map(edge).collect();
        let text = json!({"name": name, "version": "1.0.0", "id": name, "license": license, "source": source,
            "dependencies": edges, "targets": [], "features": {}, "manifest_path": "/Cargo.toml"});
        serde_json::from_value(text).unwrap()
    }

    fn importing(name: &str, imported: &str, kind: Option<&str>) -> Package {
        package(name, None, None, &[[Some(imported), kind, Some("*"), Some("/x")]])
    }

    #[test]
    fn an_edge_outside_the_table_is_a_fault() {
        let lone = |name| package(name, None, None, &[]);
        let faults = |low: &Package, high: &Package| import_faults(&[low, high], &TABLE);
        assert_eq!(faults(&lone("low"), &importing("high", "low", None)), [""; 0]);
        assert_eq!(faults(&importing("low", "high", Some("dev")), &lone("high")), [""; 0]);
        assert_eq!(faults(&importing("low", "high", None), &lone("high")), ["low imports high"]);
        assert_eq!(faults(&importing("low", "high", Some("build")), &lone("high")), ["low imports high"]);
        let unknown = import_faults(&[&lone("new")], &TABLE);
        assert_eq!(unknown, ["new has no row in the table of imports"]);
    }

    #[test]
    fn an_effect_in_a_pure_crate_is_a_fault() {
        let faults = |package: &Package| effect_faults(&[package], &["low"], &["tokio", "sp-"]);
        assert_eq!(faults(&importing("low", "tokio-util", None)), ["low depends on tokio-util"]);
        assert_eq!(faults(&importing("low", "sp-core", Some("dev"))), [""; 0]);
        assert_eq!(faults(&importing("high", "sp-core", None)), [""; 0]);
    }

    #[test]
    fn a_licence_must_be_allowed_or_excepted_word_for_word() {
        let packages = [package("a", Some("MIT"), None, &[]), package("b", Some("GPL-3.0"), None, &[])];
        assert_eq!(license_faults(&packages, &["MIT"], &[]).len(), 1);
        assert_eq!(license_faults(&packages, &["MIT"], &[("b", "GPL-3.0", "why")]), [""; 0]);
        assert_eq!(license_faults(&packages, &["MIT"], &[("b", "AGPL-3.0", "why")]).len(), 1);
        assert_eq!(license_faults(&[package("none", None, None, &[])], &["MIT"], &[]).len(), 1);
    }

    #[test]
    fn a_source_beside_crates_io_is_a_fault() {
        let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
        let from = |source| source_faults(&[package("a", None, source, &[])]);
        assert_eq!((from(None), from(Some(crates_io))), (vec![], vec![]));
        assert_eq!(from(Some("git+https://example.org/a")), ["a 1.0.0"]);
    }

    #[test]
    fn a_requirement_that_is_not_exact_is_a_fault() {
        let requiring = |req| package("a", None, None, &[[Some("b"), None, Some(req), None]]);
        assert_eq!(pin_faults(&[&requiring("=1.2.3")]), [""; 0]);
        assert_eq!(pin_faults(&[&requiring("^1.2.3")]), ["a: b = \"^1.2.3\""]);
        assert_eq!(pin_faults(&[&importing("a", "b", None)]), [""; 0]);
    }
}
