//! The page's chains and their colours are generated from the table of `wec_record::Chain`.

use wec_record::{Chain, Object};

fn script() -> String {
    let listed = Chain::ALL.map(|chain| format!("\"{chain}\"")).join(", ");
    let weights =
        Chain::ALL.map(|chain| format!("  \"{chain}\": {},\n", chain.facts().default_weight)).concat();
    let of = |object: fn(Chain) -> Option<Object>| {
        Chain::ALL.map(|chain| format!("  \"{chain}\": {},\n", object(chain).map_or("null", stored))).concat()
    };
    let (needs, makes) = (of(|chain| chain.facts().needs), of(|chain| chain.facts().makes));
    format!(
        "// Made from record/src/chain.rs: WEC_WRITE_PAGE=1 cargo test -p wec-analytics --test analytics page_chains\n\n\
         export const CHAINS = [{listed}] as const;\n\
         export type Chain = (typeof CHAINS)[number];\n\
         /** What a plan that sets none has. */\n\
         export const DEFAULT_WEIGHTS: Record<Chain, number> = {{\n{weights}}};\n\
         /** An object that chains need and make. */\n\
         export type ChainObject = \"registrations\" | \"authorizations\" | \"certificates\";\n\
         /** What the state store must hold for each; null for one that needs nothing. */\n\
         export const NEEDS: Record<Chain, ChainObject | null> = {{\n{needs}}};\n\
         /** What each adds to the state store; null for one that adds nothing. */\n\
         export const MAKES: Record<Chain, ChainObject | null> = {{\n{makes}}};\n"
    )
}

/// The count of the state store that has the object.
const fn stored(object: Object) -> &'static str {
    match object {
        Object::Registration => "\"registrations\"",
        Object::Order => "\"authorizations\"",
        Object::Certificate => "\"certificates\"",
    }
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
