//! What `slotcore ctl` is told. The doc comments are what `--help` prints.

use clap::{Args, Subcommand};

/// `slotcore ctl`.
#[derive(Args, Clone, Debug)]
pub struct CtlOptions {
    /// What to do.
    #[command(subcommand)]
    pub command: CtlCommand,

    /// Admin port of a node on this machine (its --admin-port).
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9379", global = true)]
    pub admin: String,

    /// JSON in place of text for people.
    #[arg(long, global = true)]
    pub json: bool,
}

/// What it can do.
#[derive(Clone, Debug, Subcommand)]
pub enum CtlCommand {
    /// Whether all is well as this node sees it; ends with code 1 when something is missing.
    Status,
    /// The nodes: where they are, whether they are reached, what they lead.
    Nodes,
    /// The groups: their slots, who leads, how far logs are, and how far followers are behind if this node leads.
    Groups,
    /// Nodes and groups, looked at again and again: whole on a terminal, otherwise a line for each that has changed.
    Watch(WatchOptions),
    /// Says how a new node is started so that it joins, and waits for it if asked to; changes nothing.
    AddNode(AddOptions),
    /// Has another node lead a group, without losing anything; ends with code 1 if it does not.
    TransferLeader(TransferOptions),
    /// Has all replicas of a node move to others, so that it can be removed; ends with code 1 if that is not done in time.
    Drain(DrainOptions),
    /// Removes a node that was drained, for ever: its data directory is not taken back.
    RemoveNode(RemoveOptions),
    /// Says how many nodes shall replicate each group.
    SetReplicas(ReplicasOptions),
}

/// Who asks for a change of the cluster, and how long it may take.
#[derive(Args, Clone, Debug)]
pub struct AskOptions {
    /// User of the server; by default its default user.
    ///
    /// A password is taken from the environment variable SLOTCORE_PASSWORD; the user must be allowed the command of CLUSTER.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// How long to wait until it is done. It goes on after that.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub wait: u32,
}

/// `slotcore ctl watch`.
#[derive(Args, Clone, Debug)]
pub struct WatchOptions {
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub every: u32,

    /// Looks after which it ends; by default it does not.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub count: Option<u32>,
}

/// `slotcore ctl add-node`.
#[derive(Args, Clone, Debug)]
pub struct AddOptions {
    /// Where clients will reach the node: HOST:PORT, or HOST:PORT@PEER-PORT when other nodes reach it elsewhere than at PORT + 10000.
    #[arg(value_name = "HOST:PORT")]
    pub node: String,

    /// How long to wait until it has joined; ends with code 1 if it has not then.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub wait: u32,
}

/// `slotcore ctl drain`.
#[derive(Args, Clone, Debug)]
pub struct DrainOptions {
    /// Number of the node.
    #[arg(value_name = "NODE")]
    pub node: u32,

    /// How many nodes shall replicate each group from now on, if fewer are left than that needs.
    #[arg(long, value_name = "N")]
    pub replicas: Option<u8>,

    /// How it is asked for.
    #[command(flatten)]
    pub ask: AskOptions,
}

/// `slotcore ctl remove-node`.
#[derive(Args, Clone, Debug)]
pub struct RemoveOptions {
    /// Number of the node.
    #[arg(value_name = "NODE")]
    pub node: u32,

    /// How it is asked for.
    #[command(flatten)]
    pub ask: AskOptions,
}

/// `slotcore ctl set-replicas`.
#[derive(Args, Clone, Debug)]
pub struct ReplicasOptions {
    /// 1 to 5; an odd number survives as much as the next even one.
    #[arg(value_name = "N")]
    pub replicas: u8,

    /// How it is asked for.
    #[command(flatten)]
    pub ask: AskOptions,
}

/// `slotcore ctl transfer-leader`.
#[derive(Args, Clone, Debug)]
pub struct TransferOptions {
    /// Number of the group.
    #[arg(long, value_name = "N")]
    pub group: u16,

    /// Number of the node that shall lead it. Its port for clients is connected to.
    ///
    /// A password is taken from the environment variable SLOTCORE_PASSWORD; the user must be allowed CLUSTER FAILOVER.
    #[arg(long, value_name = "NODE")]
    pub to: u32,

    /// User of the server; by default its default user.
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
}
