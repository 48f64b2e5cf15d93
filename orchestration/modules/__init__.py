"""What the modules of functions and processes do outside of Lua: one file for each Lua module."""
