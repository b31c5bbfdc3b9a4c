"""Pictures of transfer between networks of finite width."""
