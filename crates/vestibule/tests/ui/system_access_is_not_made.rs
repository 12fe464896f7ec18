fn main() {
    let _ = vestibule::SystemAccess(());
}
