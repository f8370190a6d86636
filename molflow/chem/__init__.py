"""Elements, bonds, RDKit, files: the chemistry that everything else stands on."""
