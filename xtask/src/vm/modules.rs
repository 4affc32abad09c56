//! Kernel modules and what they stand on.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

/// The files of the modules `wanted` and of everything they depend on, as `modules.dep` names them. A module that is
/// in `modules.builtin` needs no file.
///
/// # Errors
/// The kernel has no such module.
pub(crate) fn files<'a>(
    wanted: &[&str],
    modules_dep: &'a str,
    modules_builtin: &str,
) -> Result<BTreeSet<&'a str>> {
    let mut files = BTreeSet::new();
    for &name in wanted {
        let line = modules_dep
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(file, _)| module_name(file) == name);
        match line {
            Some((file, dependencies)) => {
                files.insert(file);
                files.extend(dependencies.split_whitespace());
            }
            None if modules_builtin
                .lines()
                .any(|file| module_name(file) == name) => {}
            None => bail!("the kernel has no module {name}; take another with --kernel"),
        }
    }
    Ok(files)
}

/// `kernel/net/sched/sch-netem.ko.xz` is the module `sch_netem`.
fn module_name(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split('.').next().unwrap_or(name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/drivers/net/virtio_net.ko: kernel/net/core/failover.ko kernel/drivers/net/net_failover.ko
kernel/net/core/failover.ko:
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/sched/cls-bpf.ko.xz:
";

    #[test]
    fn a_module_brings_what_it_stands_on() {
        let files = files(&["virtio_net", "cls_bpf"], DEP, "").unwrap();
        assert_eq!(files.len(), 4);
        assert!(files.contains("kernel/drivers/net/net_failover.ko"));
    }

    #[test]
    fn a_module_in_the_kernel_itself_needs_no_file_and_an_unknown_one_is_named() {
        let builtin = "kernel/net/8021q/8021q.ko\n";
        assert!(files(&["8021q"], DEP, builtin).unwrap().is_empty());
        let error = files(&["pktgen"], DEP, builtin).unwrap_err().to_string();
        assert!(error.contains("pktgen"), "{error}");
    }
}
