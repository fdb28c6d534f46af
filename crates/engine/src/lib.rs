//! TODO(room): engine
