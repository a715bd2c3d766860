"""A model taken apart: by component and layer, with the techniques that made it smaller as switches."""
