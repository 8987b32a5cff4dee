"""What the YAML files hold and which values they allow. Imports nothing slow."""
