//! What the text of a `Cargo.toml` says beyond cargo's metadata: comments, lints and profiles.

/// Entries of `[workspace.dependencies]` without a reason: a comment on the line, or a heading with one
/// after a colon, which speaks for all entries under it. Our own crates need none.
pub fn reason_faults(manifest: &str) -> Vec<String> {
    let mut heading_has_reason = false;
    let mut faults = Vec::new();
    for line in section(manifest, "workspace.dependencies") {
        if let Some(heading) = line.strip_prefix("# ---") {
            heading_has_reason = heading.contains(": ");
        } else if let Some((name, entry)) = line.split_once(" = ") {
            let has_reason = heading_has_reason || entry.contains(" # ") || entry.contains("path = ");
            faults.extend((!has_reason).then(|| name.to_owned()));
        }
    }
    faults
}

/// Crates whose release build would let an addition wrap around.
pub fn overflow_faults(manifest: &str, crates: &[&str]) -> Vec<String> {
    let is_checked = |name: &&&str| {
        section(manifest, &format!("profile.release.package.{name}"))
            .any(|line| line == "overflow-checks = true")
    };
    crates.iter().filter(|name| !is_checked(name)).map(|name| (*name).to_owned()).collect()
}

/// Whether the crate takes the workspace's lints.
pub fn takes_workspace_lints(manifest: &str) -> bool {
    section(manifest, "lints").any(|line| line == "workspace = true")
}

/// The lines of one table.
fn section<'a>(manifest: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let header = format!("[{name}]");
    let lines = manifest.lines().map(str::trim).skip_while(move |line| *line != header).skip(1);
    lines.take_while(|line| !line.starts_with('['))
}

mod tests {
    use super::*;

    #[test]
    fn an_entry_needs_a_reason_on_its_line_or_in_its_heading() {
        let manifest = "[workspace.dependencies]\n# --- ledger: what FRAME needs ---\na = \"=1\"\n\
             # --- node ---\nb = \"=1\"\nc = \"=1\" # why\nours = { path = \"x\" }\n[profile.dev]\nd = \"1\"\n";
        assert_eq!(reason_faults(manifest), ["b"]);
    }

    #[test]
    fn overflow_checks_must_stand_in_the_crates_own_profile() {
        let manifest = "[profile.release.package.a]\noverflow-checks = true\n[profile.release.package.b]\n\
             codegen-units = 1\n[profile.dev.package.c]\noverflow-checks = true\n";
        assert_eq!(overflow_faults(manifest, &["a", "b", "c"]), ["b", "c"]);
    }

    #[test]
    fn lints_must_be_taken_from_the_workspace() {
        assert!(takes_workspace_lints("[package]\n\n[lints]\nworkspace = true\n"));
        assert!(!takes_workspace_lints("[lints]\n[dependencies]\nworkspace = true\n"));
    }
}
