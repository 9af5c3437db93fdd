//! The page's chains and their colours are generated from the table of `wec_record::Chain`.

use wec_record::{Chain, Object};

fn script() -> String {
    let listed = Chain::ALL.map(|chain| format!("\"{chain}\"")).join(", ");
    let weights =
        Chain::ALL.map(|chain| format!("  \"{chain}\": {},\n", chain.facts().default_weight)).concat();
    let needs = Chain::ALL.map(|chain| {
        let object = match chain.facts().needs {
            None => "null",
            Some(Object::Registration) => "\"registrations\"",
            Some(Object::Order) => "\"authorizations\"",
            Some(Object::Certificate) => "\"certificates\"",
        };
        format!("  \"{chain}\": {object},\n")
    });
    let needs = needs.concat();
    format!(
        "// Made from record/src/chain.rs: WEC_WRITE_PAGE=1 cargo test -p wec-analytics --test analytics page_chains\n\n\
         export const CHAINS = [{listed}] as const;\n\
         export type Chain = (typeof CHAINS)[number];\n\
         /** What a plan that sets none has. */\n\
         export const DEFAULT_WEIGHTS: Record<Chain, number> = {{\n{weights}}};\n\
         /** What the state store must hold for each; null for one that needs nothing. */\n\
         export const NEEDS: Record<Chain, \"registrations\" | \"authorizations\" | \"certificates\" | null> = {{\n{needs}}};\n"
    )
}

fn style() -> String {
    let variables = Chain::ALL.map(|chain| {
        let [light, dark] = chain.facts().colours;
        format!("  --chain-{chain}: light-dark({light}, {dark});\n")
    });
    format!(
        "/* Made from record/src/chain.rs: WEC_WRITE_PAGE=1 cargo test -p wec-analytics --test analytics page_chains */\n\
         :root {{\n{}}}\n",
        variables.concat()
    )
}

#[test]
fn the_committed_list_is_up_to_date() {
    for (name, text) in [("chains.ts", script()), ("chains.css", style())] {
        let path = format!("{}/ui/src/{name}", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("WEC_WRITE_PAGE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).is_ok_and(|committed| committed == text),
            "{path} is outdated: its first line names the command that writes it"
        );
    }
}
