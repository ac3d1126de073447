//! Prints the three `CustomResourceDefinitions` as YAML: `crdgen | kubectl apply -f -`.

use crds::definitions;
use std::error::Error;
use std::io::Write;

fn main() -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    for definition in definitions::all() {
        writeln!(out, "---\n{}", definitions::to_yaml(&definition)?)?;
    }
    Ok(())
}
