//! The table as one page that needs no network, and runs nothing but its own script.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::print;
use super::state::State;
use super::table::Table;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const BODY: &str = include_str!("page.html");

fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

pub fn page(table: &Table) -> String {
    let mut data = print::json(table);
    data["legend"] = json!(State::ALL.map(State::legend));
    // It stands within a script element, which only `<` can end.
    let data = data.to_string().replace('<', "\\u003c");
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    // What comes last may hold any text.
    BODY.replace("{policy}", &policy).replace("{style}", STYLE).replace("{script}", SCRIPT).replace("{data}", &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_name_leaves_its_place() {
        assert!(!SCRIPT.contains("{data}") && !STYLE.contains("{data}") && !SCRIPT.contains("</"));
        for parts in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "fetch(", "import("] {
            assert!(!SCRIPT.contains(parts), "{parts}");
        }
        let mut table = super::super::tests::sample();
        table.rows[0].label = Some("</script><script>alert(1)</script><!--{policy}{style}".into());
        let page = page(&table);
        assert_eq!(page.matches("<script").count(), 2, "{page}");
        assert_eq!(page.matches("</script>").count(), 2);
        assert!(page.contains("\\u003c/script>\\u003cscript>alert(1)") && page.contains("{policy}{style}"));
        assert!(!page.contains("http://") && !page.contains("https://"));
    }
}
