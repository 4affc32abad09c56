//! Whether anything of a lab is left.

use std::fmt;
use std::fs;
use std::io;
use std::num::ParseIntError;
use std::str::FromStr;

use anyhow::Result;

use crate::Lab;

/// The identities of a lab's namespaces, which outlive the lab.
#[derive(Clone, Debug)]
pub struct Traces(Vec<u64>);

impl Traces {
    /// Notes the namespaces of `lab`.
    ///
    /// # Errors
    /// A namespace cannot be examined.
    pub fn of(lab: &Lab) -> Result<Self> {
        let inodes = lab.nodes().into_iter().map(|node| node.netns().inode());
        Ok(Self(inodes.collect::<io::Result<_>>()?))
    }

    /// What still holds one of the namespaces: processes, open descriptors, mounts.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn holders(&self) -> Result<Vec<String>> {
        let mut holders = Vec::new();
        for process in fs::read_dir("/proc")? {
            let process = process?.path();
            // Processes come and go while they are listed.
            let tasks = fs::read_dir(process.join("task")).into_iter().flatten();
            let namespaces = tasks.flatten().map(|task| task.path().join("ns/net"));
            let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten();
            let links = namespaces.chain(descriptors.flatten().map(|fd| fd.path()));
            for link in links {
                if fs::read_link(&link).is_ok_and(|target| self.names(&target.to_string_lossy())) {
                    holders.push(link.display().to_string());
                }
            }
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        holders.extend(
            mounts
                .lines()
                .filter(|line| self.names(line))
                .map(str::to_owned),
        );
        Ok(holders)
    }

    fn names(&self, text: &str) -> bool {
        self.0
            .iter()
            .any(|inode| text.contains(&format!("net:[{inode}]")))
    }
}

impl fmt::Display for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inodes: Vec<_> = self.0.iter().map(u64::to_string).collect();
        f.write_str(&inodes.join(" "))
    }
}

impl FromStr for Traces {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let inodes = text.split_whitespace().map(str::parse);
        inodes.collect::<Result<_, _>>().map(Self)
    }
}
