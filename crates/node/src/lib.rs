//! TODO(room): node
