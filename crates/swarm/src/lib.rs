//! TODO(room): swarm
