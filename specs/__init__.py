"""The bundled layouts, one YAML file each, and the published digests of the datasets they make."""
