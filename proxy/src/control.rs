//! Control planes: where approvals are asked.

pub mod directory;

use directory::approvals::{DirectoryApprovals, Limits};
use proxy_core::approval::{ApprovalError, Approvals};
use std::path::PathBuf;
use std::sync::Arc;

/// Approvals by files in a directory. Blocks for some file operations.
///
/// # Errors
/// The directory cannot be made or written.
pub fn approvals(directory: PathBuf) -> Result<Arc<dyn Approvals>, ApprovalError> {
    Ok(Arc::new(DirectoryApprovals::open(directory, Limits::default())?))
}
