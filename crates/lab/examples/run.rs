//! Runs one scenario and prints its report: `cargo run --release -p lab --example run -- large 1 --leechers 1000`.

use std::process::ExitCode;

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "an example is a door of its own")]
fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(scenario) = words.first().and_then(|name| lab::scenario(name)) else {
        for s in lab::SCENARIOS {
            println!("{:14} {}", s.name, s.about);
        }
        return ExitCode::from(2);
    };
    let seed = words.get(1).and_then(|s| s.parse().ok()).unwrap_or(1);
    let mut params = scenario.params();
    for pair in words.get(2..).unwrap_or_default().chunks(2) {
        if let Err(e) = params.set(&pair[0], pair.get(1).map_or("", String::as_str)) {
            eprintln!("{e}");
            return ExitCode::from(2);
        }
    }
    match scenario.run(seed, &params) {
        Ok(report) => println!("{report:#?}"),
        Err(failure) => {
            eprintln!("{failure}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
