//! The program: nothing but the library's, with no policies of its own.

use std::process::ExitCode;

/// Training allocates and frees buffers of some hundred kilobytes all the time; the system's
/// allocator gives each back to the kernel.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    atelier::main_with(Vec::new())
}
