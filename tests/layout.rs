//! Do the files and folders of `src` depend on each other in one direction only, and those of the operator downwards?
//!
//! An import is an edge from one file to the file that defines the item, whatever re-exports it on the way. Test
//! modules do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};

/// Paths below `src`, such as `core/row.rs`, and their text.
type Sources = BTreeMap<String, String>;
type Graph = BTreeMap<String, BTreeSet<String>>;

/// What lies in `src/operator`, the lowest floor first. A file imports from its own floor and from those below it.
const FLOORS: &[&[&str]] = &[
    &["clock.rs", "conditions.rs", "delays.rs", "settings.rs", "stop.rs", "vital.rs"],
    &["cluster"],
    &["remote"],
    &["kinds"],
    &["pass"],
    &["rows"],
    &["share"],
    &["child"],
    &["controller.rs", "gauges.rs", "prepare.rs", "preview"],
    &["run.rs", "shards.rs"],
];
/// What stands on no floor: the list of the others, and a test.
const NO_FLOOR: [&str; 2] = ["mod.rs", "footprint.rs"];

fn sources() -> Sources {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

#[test]
fn no_files_or_folders_import_each_other_in_a_circle() {
    let circles = circles(&sources());
    assert!(circles.is_empty(), "these import each other in a circle:\n{}", circles.join("\n"));
}

#[test]
fn the_operator_imports_downwards() {
    let upwards = upwards(&sources());
    assert!(upwards.is_empty(), "these go up, or have no floor in FLOORS:\n{}", upwards.join("\n"));
}

#[test]
fn an_import_that_goes_up_is_found() {
    let found = |files: &[(&str, &str)]| {
        let sources = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        upwards(&sources.collect())
    };
    let inner = |text: &'static str| ("operator/cluster/mod.rs", text);
    let outer = |text: &'static str| ("operator/remote/mod.rs", text);
    let root = ("operator/mod.rs", "mod cluster; mod remote;");
    let down = [root, inner("pub struct A;"), outer("use super::cluster::A;")];
    assert_eq!(found(&down), Vec::<String>::new());
    let up = [root, inner("use crate::operator::remote::B;"), outer("pub struct B;")];
    assert_eq!(found(&up), ["operator/cluster/mod.rs imports operator/remote/mod.rs"]);
    let unknown = [root, ("operator/attic.rs", "pub struct C;")];
    assert_eq!(found(&unknown), ["operator/attic.rs has no floor"]);
}

#[test]
fn a_circle_is_found() {
    let found = |files: &[(&str, &str)]| {
        let sources = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        circles(&sources.collect())
    };
    let root = ("lib.rs", "mod a; mod b; mod c;");
    let clean = [root, ("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;"), ("c.rs", "use super::{a, b::B};")];
    assert_eq!(found(&clean), Vec::<String>::new());
    let of_files =
        [root, ("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "pub struct B; fn f(_: crate::a::A) {}")];
    assert_eq!(found(&of_files), ["a.rs, b.rs"]);
    let through_a_re_export = [
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod inner; pub use inner::A;"),
        ("a/inner.rs", "use crate::b::B; pub struct A;"),
        ("b.rs", "use crate::a::A; pub struct B;"),
    ];
    assert_eq!(found(&through_a_re_export), ["a/inner.rs, b.rs", "in src: a, b.rs"]);
    let of_folders = [
        ("lib.rs", "mod a; mod b;"),
        ("a/mod.rs", "mod one; mod two;"),
        ("a/one.rs", "use crate::b::three::B;"),
        ("a/two.rs", "pub struct A;"),
        ("b/mod.rs", "pub mod three; mod four;"),
        ("b/three.rs", "pub struct B;"),
        ("b/four.rs", "use crate::a::two::A;"),
    ];
    assert_eq!(found(&of_folders), ["in src: a, b"]);
    let in_tests_only =
        [root, ("a.rs", "use crate::b::B; pub struct A;"), ("b.rs", "#[cfg(test)] mod tests { use crate::a::A; }")];
    assert_eq!(found(&in_tests_only), Vec::<String>::new());
}

fn read(folder: &Path) -> Sources {
    let mut sources = Sources::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).expect("a folder that can be read") {
            let path = entry.expect("an entry that can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("main.rs") {
                let name = path.strip_prefix(folder).expect("a path in the folder").to_string_lossy().into_owned();
                sources.insert(name, std::fs::read_to_string(&path).expect("a file that can be read"));
            }
        }
    }
    sources
}

/// A line for each circle of files, and for each circle of what lies in one folder.
fn circles(sources: &Sources) -> Vec<String> {
    let files = imports(sources);
    let mut found: Vec<String> = strongly_connected(&files).iter().map(|circle| circle.join(", ")).collect();
    for (folder, units) in by_folder(&files) {
        let of_units = strongly_connected(&units).into_iter();
        // A circle of files only was said above.
        let of_folders = of_units.filter(|circle| circle.iter().any(|unit| !unit.ends_with(".rs")));
        found.extend(of_folders.map(|circle| format!("in {folder}: {}", circle.join(", "))));
    }
    found
}

/// A line for each file of the operator that imports from a floor above its own, or that has none.
fn upwards(sources: &Sources) -> Vec<String> {
    let unit = |path: &str| path.strip_prefix("operator/").and_then(|rest| rest.split('/').next()).map(str::to_owned);
    let floor = |path: &str| unit(path).and_then(|unit| FLOORS.iter().position(|floor| floor.contains(&unit.as_str())));
    let stands = |path: &str| unit(path).is_some_and(|unit| !NO_FLOOR.contains(&unit.as_str()));
    let lost = sources.keys().filter(|path| stands(path) && floor(path).is_none());
    let mut found: Vec<String> = lost.map(|path| format!("{path} has no floor")).collect();
    for (from, all) in imports(sources) {
        let up = all.iter().filter(|to| floor(&from).zip(floor(to)).is_some_and(|(from, to)| from < to));
        found.extend(up.map(|to| format!("{from} imports {to}")));
    }
    found
}

/// In each folder: which of the files and folders in it imports which other one.
fn by_folder(files: &Graph) -> BTreeMap<String, Graph> {
    let mut graphs: BTreeMap<String, Graph> = BTreeMap::new();
    for (from, to) in files.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to))) {
        let (from, to): (Vec<&str>, Vec<&str>) = (from.split('/').collect(), to.split('/').collect());
        let Some(common) = (0..from.len().min(to.len())).find(|at| from[*at] != to[*at]) else { continue };
        let folder = std::iter::once("src").chain(from[..common].iter().copied()).collect::<Vec<_>>().join("/");
        let graph = graphs.entry(folder).or_default();
        graph.entry(from[common].to_owned()).or_default().insert(to[common].to_owned());
    }
    graphs
}

/// Which file imports an item of which other file.
fn imports(sources: &Sources) -> Graph {
    let modules: BTreeMap<Vec<String>, Module> =
        sources.iter().map(|(path, text)| (module_of(path), Module::parse(path, text))).collect();
    let mut graph = Graph::new();
    for (name, module) in &modules {
        for path in &module.paths {
            let target = resolve(&modules, absolute(name, path), 0);
            if let Some(target) = target.filter(|target| *target != module.file) {
                graph.entry(module.file.clone()).or_default().insert(target);
            }
        }
    }
    graph
}

fn module_of(path: &str) -> Vec<String> {
    let path = path.trim_end_matches(".rs");
    let parts = path.split('/').filter(|part| !matches!(*part, "lib" | "mod"));
    parts.map(str::to_owned).collect()
}

/// The path from the crate's root.
fn absolute(module: &[String], path: &[String]) -> Vec<String> {
    let mut base = module.to_vec();
    let mut rest = path.iter().peekable();
    match rest.peek().map(|first| first.as_str()) {
        Some("crate") => {
            base.clear();
            rest.next();
        }
        Some("self") => {
            rest.next();
        }
        _ => {}
    }
    while rest.next_if(|part| *part == "super").is_some() {
        base.pop();
    }
    base.extend(rest.cloned());
    base
}

/// The file that defines what an absolute path names; `None` for what is not of this crate.
fn resolve(modules: &BTreeMap<Vec<String>, Module>, path: Vec<String>, depth: usize) -> Option<String> {
    let known = (0..=path.len()).rev().find(|length| modules.contains_key(&path[..*length]))?;
    let module = &modules[&path[..known]];
    let Some(item) = path.get(known) else { return Some(module.file.clone()) };
    if let Some(target) = module.exports.get(item).filter(|_| depth < 8) {
        let target = absolute(&path[..known], target);
        return resolve(modules, target.into_iter().chain(path[known + 1..].iter().cloned()).collect(), depth + 1);
    }
    // Whatever else stands at the root is another crate.
    (known > 0).then(|| module.file.clone())
}

struct Module {
    file: String,
    /// All paths in its code, as they are written.
    paths: BTreeSet<Vec<String>>,
    /// What it exports of others, by name.
    exports: BTreeMap<String, Vec<String>>,
}

impl Module {
    fn parse(file: &str, text: &str) -> Module {
        let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut module = Module { file: file.to_owned(), paths: BTreeSet::new(), exports: BTreeMap::new() };
        module.visit_file(&parsed);
        module
    }

    fn tree(&mut self, prefix: &[String], tree: &syn::UseTree, exported: bool) {
        let with = |name: &syn::Ident| prefix.iter().cloned().chain([name.to_string()]).collect::<Vec<_>>();
        let (path, name) = match tree {
            syn::UseTree::Path(path) => return self.tree(&with(&path.ident), &path.tree, exported),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.tree(prefix, tree, exported));
                return;
            }
            syn::UseTree::Name(name) if name.ident == "self" => {
                (prefix.to_vec(), prefix.last().cloned().unwrap_or_default())
            }
            syn::UseTree::Name(name) => (with(&name.ident), name.ident.to_string()),
            syn::UseTree::Rename(rename) => (with(&rename.ident), rename.rename.to_string()),
            syn::UseTree::Glob(_) => (prefix.to_vec(), "*".to_owned()),
        };
        if exported {
            self.exports.insert(name, path.clone());
        }
        self.paths.insert(path);
    }
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|ident| ident == "test")
    })
}

impl<'ast> Visit<'ast> for Module {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    /// Who may see an item is no import.
    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let exported = !matches!(item.vis, syn::Visibility::Inherited);
        self.tree(&[], &item.tree, exported);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if matches!(segments[0].as_str(), "crate" | "super" | "self") && segments.len() > 1 {
            self.paths.insert(segments);
        }
        visit::visit_path(self, path);
    }
}

/// The sets of two or more nodes that reach each other.
fn strongly_connected(graph: &Graph) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = graph.keys().map(|node| (node, reach(graph, node))).collect();
    let mut circles: BTreeSet<Vec<String>> = BTreeSet::new();
    for (node, all) in &reached {
        let circle = all.iter().filter(|other| reached.get(**other).is_some_and(|back| back.contains(node)));
        let circle: Vec<String> = circle.map(|other| (*other).clone()).collect();
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

fn reach<'g>(graph: &'g Graph, from: &'g String) -> BTreeSet<&'g String> {
    let mut reached = BTreeSet::new();
    let mut next = vec![from];
    while let Some(node) = next.pop() {
        next.extend(graph.get(node).into_iter().flatten().filter(|to| reached.insert(*to)));
    }
    reached
}
