//! Linker options of the eBPF target.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Headers in a packet have no alignment. Without this every 32-bit field becomes four loads
    // and three shifts; kernels on the supported architectures take the plain load.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "bpf") {
        println!("cargo::rustc-link-arg-bins=--cpu-features=+allows-misaligned-mem-access");
    }
}
