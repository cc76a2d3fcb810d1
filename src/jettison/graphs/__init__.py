"""Reading and editing graphs safely, shared by techniques and loaders."""
