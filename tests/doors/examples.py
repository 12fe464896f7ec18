def install_python(root, here): return root/"target/tools/python/bin"
def verify(*a): return []
