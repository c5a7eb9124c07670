//! A demo pipeline on Feldera's own engine: orders that come and go, joined with customers, aggregated by region.
//!
//! It runs until SIGTERM. The worker threads are dbsp's own and have the names that it gives them. As orders leave
//! again after `WINDOW` steps, its memory stays the same however long it runs. Over HTTP it runs samply on itself.

mod http;
mod samply;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dbsp::mimalloc::MiMalloc;
use dbsp::operator::Max;
use dbsp::typed_batch::SpineSnapshot;
use dbsp::utils::{Tup2, Tup3};
use dbsp::{
    DBSPHandle, NumEntries, OrdZSet, OutputHandle, RootCircuit, Runtime, ZSetHandle, ZWeight,
};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const WORKERS: usize = 2;
const CUSTOMERS: u64 = 20_000;
const REGIONS: u64 = 500;
const ORDERS_PER_STEP: u64 = 5_000;
const WINDOW: u64 = 40;
const REPORT_EVERY: Duration = Duration::from_secs(10);
const LONGEST_REST: Duration = Duration::from_millis(500);

/// Customer, quantity, price of one in cents.
type Order = Tup3<u64, u64, i64>;
/// Customer, region.
type Customer = Tup2<u64, u64>;
/// Region, sum of its orders, largest of them.
type Revenue = Tup3<u64, i64, i64>;

struct Handles {
    orders: ZSetHandle<Order>,
    customers: ZSetHandle<Customer>,
    revenue: OutputHandle<SpineSnapshot<OrdZSet<Revenue>>>,
}

fn build_circuit(circuit: &mut RootCircuit) -> Handles {
    let (orders, orders_handle) = circuit.add_input_zset::<Order>();
    let (customers, customers_handle) = circuit.add_input_zset::<Customer>();

    let amounts = orders.map_index(|order| (order.0, price_order(order)));
    let regions = customers.map_index(|Tup2(customer, region)| (*customer, *region));
    let by_region = amounts.join_index(&regions, |_customer, amount, region| {
        Some((*region, *amount))
    });
    let sums = by_region.aggregate_linear(|amount| *amount);
    let largest = by_region.aggregate(Max);
    let revenue = sums.join(&largest, |region, sum, largest| {
        Tup3(*region, *sum, *largest)
    });

    Handles {
        orders: orders_handle,
        customers: customers_handle,
        revenue: revenue.accumulate_output(),
    }
}

/// Not inlined, so that a profile shows the pipeline's own code beside the engine's.
#[inline(never)]
fn price_order(Tup3(_customer, quantity, price): &Order) -> i64 {
    let discount = if *quantity >= 8 { 10 } else { 0 };
    price * *quantity as i64 * (100 - discount) / 100
}

/// Always the same orders for the same step: that is how they are taken back later.
#[inline(never)]
fn generate_orders(step: u64, weight: ZWeight) -> Vec<Tup2<Order, ZWeight>> {
    let mut state = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..ORDERS_PER_STEP)
        .map(|_| {
            Tup2(
                Tup3(
                    next() % CUSTOMERS,
                    1 + next() % 10,
                    100 + (next() % 99_900) as i64,
                ),
                weight,
            )
        })
        .collect()
}

fn run_step(engine: &mut DBSPHandle, handles: &Handles, step: u64) -> Result<(), dbsp::Error> {
    handles.orders.append(&mut generate_orders(step, 1));
    if step >= WINDOW {
        handles
            .orders
            .append(&mut generate_orders(step - WINDOW, -1));
    }
    engine.transaction()
}

/// The percentage of the time that the engine works.
fn read_load() -> f64 {
    let text = std::env::var("DEMO_LOAD").unwrap_or_else(|_| "30".to_owned());
    match text.parse::<f64>() {
        Ok(load) if (1.0..=100.0).contains(&load) => load,
        _ => {
            eprintln!("DEMO_LOAD is a percentage from 1 to 100, not {text:?}");
            std::process::exit(2);
        }
    }
}

fn serve_http() -> std::io::Result<()> {
    let name = read("DEMO_NAME", "dbsp");
    let profiler = Arc::new(samply::Profiler::new(&name));
    let pipeline = http::Pipeline {
        id: read("DEMO_ID", "0197f5a0-8d24-7c11-a6e0-2b7c9d4e1f55"),
        name,
        profiler,
    };
    http::serve(pipeline, read("DEMO_LISTEN", "0.0.0.0:8080"))
}

fn read(variable: &str, default: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| default.to_owned())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // PID 1 has no default for SIGTERM: without this it would be killed only after the grace period.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let load = read_load();
    serve_http()?;
    let (mut engine, handles) =
        Runtime::init_circuit(WORKERS, |circuit| Ok(build_circuit(circuit)))?;
    println!(
        "dbsp with {WORKERS} workers; load {load} %; {ORDERS_PER_STEP} orders per step, kept for {WINDOW} steps"
    );
    let mut customers = (0..CUSTOMERS)
        .map(|id| Tup2(Tup2(id, id % REGIONS), 1))
        .collect();
    handles.customers.append(&mut customers);

    let (mut step, mut reported) = (0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        run_step(&mut engine, &handles, step)?;
        let changes = handles.revenue.concat().consolidate().num_entries_shallow();
        step += 1;
        if reported.elapsed() >= REPORT_EVERY {
            println!("{step} steps; the last one changed {changes} rows");
            reported = Instant::now();
        }
        let rest = began.elapsed().mul_f64((100.0 - load) / load);
        std::thread::sleep(rest.min(LONGEST_REST));
    }
    engine.kill().map_err(|_| "a worker panicked")?;
    println!("stopped after {step} steps");
    Ok(())
}
