use cache_runtime::cached;

#[cached]
fn serve(port: u16) -> ! {
    loop {
        println!("{port}");
    }
}

fn main() {}
