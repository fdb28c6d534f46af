//! TODO(room): lab
