"""The catalog: what lies where, as records of physical copies that no server keeps."""
