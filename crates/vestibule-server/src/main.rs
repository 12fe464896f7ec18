//! The binary `vestibule`.

use std::process::ExitCode;

fn main() -> ExitCode {
    vestibule_server::cli::main(std::env::args_os())
}
