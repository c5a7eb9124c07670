"""What an installation decides: one frozen tree, read once, in the order of the chart's `config` value.

Only this module reads the environment. The file (JSON) is named by SAMPLY_OPERATOR_SETTINGS; without it the
defaults hold. Nothing in it is secret: it may be printed.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from samply_operator.errors import SettingsError

Mode = Literal["Auto", "InPlace", "BringOwn", "Ephemeral", "Pipeline"]
MODES: tuple[Mode, ...] = get_args(Mode)
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
ChildBytes = Annotated[int, msgspec.Meta(ge=160 * 1024 * 1024)]
"""Address space of a process that reads profiles; Python and numpy take most of the least that is allowed."""

MAX_DURATION_SECS = 3600
"""The longest recording: the range of Feldera's web console."""
MAX_RATE_HZ = 10_000
MAX_LINK_SECS = 7 * 24 * 3600
"""The longest that an installation may let a link hold."""


class Base(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Every group: unknown keys are refused, so that a typo never passes for a default."""


class Targets(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Whose pods are pipelines."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch. Empty: only the operator's own, unless clusterWide."""
    cluster_wide: bool = False
    """Watch all namespaces (needs the ClusterRole of the chart)."""
    namespace_selector: str = ""
    """Label selector of namespaces, such as feldera.com/pipelines=yes: of all namespaces those are watched, from when
    they are there. Needs clusterWide. Empty: all of them."""
    pod_selector: str | tuple[str, ...] = ("feldera.com/part-of=pipeline", "app.kubernetes.io/name=feldera-pipeline")
    """Label selectors of pipeline pods (and of StatefulSets' pod templates): one, or several of which one matches."""
    name_label: str = ""
    """A further label (or annotation) that holds the pipeline's name. Empty: none."""
    name_pattern: str = r"^(?:pipeline-)?(?P<pipeline>.+)$"
    """Regular expression with a group `pipeline` over the StatefulSet's name, where no label names the pipeline."""
    container: str = ""
    """The container to profile. Empty: the one named pipeline, else kubectl's default-container annotation, else the
    first that is not a known sidecar."""

    def __post_init__(self) -> None:
        if self.namespace_selector and not self.cluster_wide:
            raise ValueError("targets.namespaceSelector needs clusterWide: true")
        if not self.selectors:
            raise ValueError("targets.podSelector: give at least one; an empty string selects every pod")

    @property
    def selectors(self) -> tuple[str, ...]:
        return (self.pod_selector,) if isinstance(self.pod_selector, str) else self.pod_selector


class Feldera(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Feldera's own API server: what pipelines are called, and who may see them."""

    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^/?#\s]+(/[^?#\s]*)?)?$")] = ""
    """Such as http://feldera-api-server.feldera:8080. Empty: Feldera is not asked."""
    secret_name: str = ""
    """Secret in the release's namespace; each entry is an API key of Feldera's with the role read, one for each tenant
    whose pipelines are to be called by their names. Empty: none is sent, as for a Feldera without authentication."""
    prefer_own_samply: bool = False
    """Mode Auto first has the pipeline run samply on itself (mode Pipeline): its file names the SQL operators."""


class Recording(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How a recording runs unless its object says otherwise."""

    duration_secs: Annotated[int, msgspec.Meta(ge=1, le=MAX_DURATION_SECS)] = 30
    rate_hz: Annotated[int, msgspec.Meta(ge=1, le=MAX_RATE_HZ)] = 1000
    mode: Mode = "Auto"
    min_coverage: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.75
    """Share of the samples that were due, below which a recording ends as failed (LowCoverage); its file is kept."""
    enabled: bool = True
    """False: every request is answered with ProfilingNotEnabled; stored profiles are still served."""
    max_concurrent: Positive = 8
    """Recordings at the same time in all; further ones wait, oldest first."""
    max_per_node: Positive = 4
    """The same on one node: samply locks memory there for each CPU and thread, and works when it finishes."""
    attach_deadline_secs: Seconds = 30
    """Longest time from the start of samply until it says that it records."""
    finish_deadline_secs: Seconds = 300
    """Longest time from the SIGINT until samply has written its file."""
    copy_deadline_secs: Seconds = 900
    """Longest time to copy a finished profile out of the pod."""
    unreachable_secs: Seconds = 600
    """How long a recording whose pod or API server is away is tried again before it fails."""
    remote_ttl_secs: Seconds = 3600
    """How long a file that couldn't be copied stays in the pod; in mode Ephemeral also if the operator is away."""
    finish_memory_bytes: ChildBytes = 768 * 1024 * 1024
    """Memory of the process that reads a profile and gives it names; less than the container's limit."""
    keep_raw: bool = False
    """Keep what samply wrote, profile and symbols, beside the published profile: twice the space, and more."""
    min_free_bytes: Positive = 64 * 1024 * 1024
    """Least free space on the volume, and in the pod's folder, before a recording starts."""


class Ephemeral(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """samply in an ephemeral container beside the pipeline's: works on pods that nobody prepared."""

    enabled: bool = True
    namespaces: tuple[str, ...] = ()
    """Where it may be used. Empty: in all target namespaces."""
    image: str = "samply-operator-samply:0.1.0"
    """The image of images/samply."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    max_per_pod: Positive = 20
    """Ephemeral containers can't be removed from a pod: at most this many in its life."""
    start_deadline_secs: Seconds = 60
    """Longest time until it runs, the pull of its image included."""


class BringOwn(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The project's samply, copied into the pipeline's container for the time of a recording."""

    enabled: bool = False
    """Off by default: a program that appears in a production container alarms its guards."""


class Retention(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What becomes of what ended. The newest good profile of each ordinal, and pinned ones, are always kept."""

    max_per_ordinal: Positive = 20
    """Good profiles of one ordinal; pinned ones don't count."""
    max_failures_per_ordinal: Positive = 5
    """Failures of one ordinal."""
    max_pipeline_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Bytes of one pipeline's profiles, all ordinals together. 0: no limit of its own."""
    max_total: Positive = 5000
    """Good profiles and failures in all; pinned ones don't count."""
    max_volume_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 80
    """Share of the volume (what profiles take and what is free) that profiles may take."""
    max_age_secs: Seconds = 30 * 24 * 3600
    """Age since their end."""
    absence_grace_secs: Seconds = 300
    """How long an object whose deletion nobody saw must be absent from complete lists before its file goes."""
    object_ttl_secs: Seconds = 7 * 24 * 3600
    """SamplyProfile objects without a stored profile are deleted this long after their end, or its removal."""


BUCKET_URL = r"^((s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(/[A-Za-z0-9!_.*'()-]+)*/?)?$"
CLUSTER = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class Bucket(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Object storage. Credentials are files of the pod, never settings."""

    url: Annotated[str, msgspec.Meta(pattern=BUCKET_URL)] = ""
    """s3://NAME/PREFIX, gs://NAME/PREFIX or az://CONTAINER/PREFIX."""
    cluster: Annotated[str, msgspec.Meta(pattern=CLUSTER)] = "default"
    """This cluster's folder below the prefix: no two installations may share one."""
    read_clusters: tuple[Annotated[str, msgspec.Meta(pattern=CLUSTER)], ...] = ()
    """Further clusters' folders whose profiles are served here as well, in namespaces called CLUSTER/NAMESPACE."""
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^?#\s]+)?$")] = ""
    """Where the provider is, for what speaks S3 elsewhere. Empty: as the provider's own clients find it."""
    region: str = ""
    """Empty: us-east-1."""
    path_style: bool = True
    """The bucket's name in the path; false: in the host's name, which the endpoint then begins with."""
    kms_key_id: str = ""
    """The key that S3 encrypts with (SSE-KMS). Empty: as the bucket says."""
    role_arn: str = ""
    """The role that the pod's own token is exchanged for, at AWS. Empty: no exchange."""
    options: dict[str, str] = {}
    """Further options of the provider's connection, as obstore names them (sts_endpoint, checksum_algorithm, …)."""

    def __post_init__(self) -> None:
        if self.cluster in self.read_clusters:
            raise ValueError("storage.bucket: readClusters are others than cluster, whose profiles are served anyway")


class Storage(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Where finished profiles live: on the pod's volume, or in a bucket. The volume is then a spool."""

    kind: Literal["Volume", "Bucket"] = "Volume"
    bucket: Bucket = Bucket()
    spool_bytes: Positive = 4 * 1024 * 1024 * 1024
    """With a bucket: what recordings on their way to it may take on the pod's volume."""
    read_back: bool = True
    """Read each uploaded file again and compare its SHA-256 before the local copy goes."""
    cache_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1024 * 1024 * 1024
    """Disk of the api container for files of the bucket that were asked for lately. 0: none are kept."""
    redirect: bool = False
    """Send callers to the bucket for whole files (307 to a signed URL), instead of streaming them through."""
    redirect_endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^?#\s]+)?$")] = ""
    """Where callers reach the provider. Empty: as bucket.endpoint."""
    redirect_secs: Annotated[int, msgspec.Meta(ge=10, le=MAX_LINK_SECS)] = 300
    """How long such a URL holds."""

    def __post_init__(self) -> None:
        if self.kind == "Bucket" and not self.bucket.url:
            raise ValueError("storage.bucket needs a url, such as s3://profiles")


Verb = Literal["get", "create", "delete"]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
NAMESPACE = r"^(\*|([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$"
"""Of this cluster, or CLUSTER/NAMESPACE for profiles of another one (storage.bucket.readClusters)."""


class KubernetesWay(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Tokens of the cluster, which Kubernetes reviews: who they are of, and what those may do with samplyprofiles."""

    enabled: bool = True
    audiences: tuple[str, ...] = ("samply-operator",)
    """A token must be for one of them: one that was made for something else opens nothing here."""


class OidcGrant(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a subject, or a group, may do. One of both is named."""

    verbs: tuple[Verb, ...]
    namespaces: tuple[Annotated[str, msgspec.Meta(pattern=NAMESPACE)], ...]
    """ "*" means all."""
    subject: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        if bool(self.subject) == bool(self.group):
            raise ValueError("a grant of oidc names a subject or a group: one of both")
        if not self.verbs or not self.namespaces:
            raise ValueError("a grant of oidc names verbs and namespaces")


class Oidc(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """JWTs of an identity provider."""

    enabled: bool = False
    issuer: str = ""
    """What `iss` must be, letter by letter."""
    audience: str = ""
    """What `aud` must hold."""
    jwks_url: str = ""
    """Where its public keys are. Empty: as its /.well-known/openid-configuration says."""
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    """Asymmetric ones only."""
    subject_claim: str = "sub"
    groups_claim: str = "groups"
    token_header: str = ""
    """In which an authenticating proxy passes its user's JWT, besides `Authorization`. Empty: in none."""
    grants: tuple[OidcGrant, ...] = ()

    def __post_init__(self) -> None:
        if not self.enabled:
            return
        if not (self.issuer and self.audience and self.algorithms and self.subject_claim):
            raise ValueError("oidc needs issuer, audience, algorithms and subjectClaim")
        for url in filter(None, (self.issuer, self.jwks_url)):
            if not url.startswith(("https://", "http://")):
                raise ValueError(f"oidc: {url} is no URL")
        if self.token_header and not re.fullmatch(r"[A-Za-z0-9-]{1,100}", self.token_header):
            raise ValueError("oidc: tokenHeader is the name of a header, such as X-Forwarded-Access-Token")


class ApiKeys(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Fixed keys, for what has no other identity."""

    enabled: bool = False
    secret_name: str = "samply-operator-api-keys"  # noqa: S105 - the name of one
    """Secret in the release's namespace with one entry for each key (`samply-operator key new` tells what)."""


class FelderaWay(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Keys and tokens of Feldera: who may see a pipeline there may read its profiles here. Needs feldera.url."""

    enabled: bool = False
    may_start: bool = True
    """They may start and stop recordings too, as Feldera's role read may."""
    issuers: tuple[str, ...] = ()
    """What `iss` of Feldera's JWTs is, letter by letter. Empty: its API keys (`apikey:…`) alone."""


class Auth(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Who is let in over HTTP: at least one way is on."""

    kubernetes: KubernetesWay = KubernetesWay()
    oidc: Oidc = Oidc()
    api_keys: ApiKeys = ApiKeys()
    feldera: FelderaWay = FelderaWay()
    unsafe_let_anyone_in_without_authentication: bool = False
    """True: no token is looked at, and everybody may read, start and delete everything."""

    def __post_init__(self) -> None:
        ways = (self.kubernetes.enabled, self.oidc.enabled, self.api_keys.enabled, self.feldera.enabled)
        if not (any(ways) or self.unsafe_let_anyone_in_without_authentication):
            raise ValueError("auth: nobody could come in; enable kubernetes, oidc, apiKeys or feldera")
        if self.kubernetes.enabled and not any(self.kubernetes.audiences):
            raise ValueError("auth.kubernetes needs an audience")
        if self.api_keys.enabled and not self.api_keys.secret_name:
            raise ValueError("auth.apiKeys needs a secretName")
        if self.oidc.enabled and self.oidc.issuer in self.feldera.issuers:
            raise ValueError("auth: one issuer is oidc's or feldera's, not of both")


class Links(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Links to one stored profile that need no credentials, for a while."""

    secret_name: str = ""
    """Secret in the release's namespace with the entries `current` and `previous` (at least 32 random bytes each): the
    keys that sign links. Empty: no links."""
    max_secs: Annotated[int, msgspec.Meta(ge=60, le=MAX_LINK_SECS)] = 24 * 3600
    """Longest time that a link may hold."""
    public_url: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^/?#\s]+(/[^?#\s]*)?)?$")] = ""
    """Where browsers reach the service, such as https://profiles.example.com, without the base path. Empty: as the
    request for a link came."""


AllowedOrigin = Annotated[str, msgspec.Meta(pattern=r"^(\*|https?://[^/?#\s]+)$")]


class Cors(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Pages of other origins that may read answers, and send a token that they have."""

    allow_origins: tuple[AllowedOrigin, ...] = ()
    """Origins such as https://console.example.com; "*": all."""


class SignIn(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Signing in at the identity provider of auth.oidc: authorization code with PKCE, by a public client."""

    client_id: str = ""
    """Of the console, as the provider knows it. Empty: a token is pasted instead."""
    scopes: tuple[str, ...] = ("openid", "profile")
    token: Literal["idToken", "accessToken"] = "idToken"  # noqa: S105 - the kind of one
    """Which of the provider's tokens the API is shown: its `aud` must hold auth.oidc.audience."""


class Console(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The web console under /console. It shows what the API answers to whoever signed in, and nothing else."""

    enabled: bool = True
    sign_in: SignIn = SignIn()
    firefox_profiler_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^?#\s]+$")] = "https://profiler.firefox.com"
    """Where links to Firefox Profiler lead: its public site, or an installation of your own."""


class Api(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The network door."""

    host: str = ""
    """Address to listen on. Empty: all of the pod's, IPv4 and IPv6."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8080
    metrics_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 9090
    """Port for Prometheus: no authentication, no names."""
    base_path: Annotated[str, msgspec.Meta(pattern=r"^(/[A-Za-z0-9._~-]+)*$", max_length=200)] = ""
    """Such as /profiles: all paths are there too, and links have it. For one host with others behind an Ingress."""
    start_wait_secs: Seconds = 2
    """How long a POST waits for a recording to run or to be refused before it answers 202."""
    requests_per_sec: Annotated[float, msgspec.Meta(ge=0)] = 100
    """What one caller (a credential, else an address) may ask in the long run; more gets 429. 0: no limit."""
    request_burst: Positive = 400
    """How many requests one caller may send at once after a pause."""
    max_connections: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Open connections; further ones are closed at once. 0: 2000, or what the limit of open files allows."""
    max_connections_per_address: Annotated[int, msgspec.Meta(ge=1)] = 1000
    """Those of one address. A proxy before it counts as one."""
    shutdown_delay_secs: Annotated[float, msgspec.Meta(ge=0)] = 2
    """At the end of the pod: how long it is still served after it said that it is not ready."""
    drain_secs: Annotated[float, msgspec.Meta(ge=0)] = 24
    """After that: how long downloads under way may go on. Both together stay below the pod's grace period."""
    view_memory_bytes: ChildBytes = 768 * 1024 * 1024
    """Memory of the process that converts, summarises or compares profiles; well below the container's limit."""
    view_spool_bytes: Annotated[int, msgspec.Meta(ge=16 * 1024 * 1024)] = 256 * 1024 * 1024
    """Room for what is converted and not taken yet; one answer may take a quarter of it."""
    links: Links = Links()
    cors: Cors = Cors()
    console: Console = Console()


class Paths(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Where things are in the pod."""

    data: str = "/data"
    storage: str = "/etc/samply-operator-storage"
    """Credentials and token for the bucket."""
    authorities: str = "/etc/samply-operator-ca/ca.crt"
    """Certificates of authorities that are trusted beside the public ones, where the chart has some."""
    samply: str = "/usr/local/libexec/samply"
    """The project's samply, for mode BringOwn; absent in images built without it."""
    cache: str = "/tmp/cache"  # noqa: S108 - an emptyDir of the pod's own
    socket: str = "/run/samply-operator/control.sock"
    heartbeat: str = "/tmp/heartbeat"  # noqa: S108 - an emptyDir of the pod's own
    feldera_keys: str = "/etc/samply-operator-feldera-keys"
    """Where the Secret of feldera.secretName is mounted, in the container operator."""


class Settings(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    targets: Targets = Targets()
    feldera: Feldera = Feldera()
    recording: Recording = Recording()
    ephemeral: Ephemeral = Ephemeral()
    bring_own: BringOwn = BringOwn()
    retention: Retention = Retention()
    storage: Storage = Storage()
    auth: Auth = Auth()
    api: Api = Api()
    paths: Paths = Paths()
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def __post_init__(self) -> None:
        if self.api.console.sign_in.client_id and not self.auth.oidc.enabled:
            raise ValueError("api.console.signIn.clientId needs auth.oidc.enabled: its provider is where one signs in")
        if self.auth.feldera.enabled and not self.feldera.url:
            raise ValueError("auth.feldera asks Feldera: give feldera.url")
        if self.feldera.prefer_own_samply and not self.feldera.url:
            raise ValueError("feldera.preferOwnSamply asks Feldera: give feldera.url")


class Identity(msgspec.Struct, frozen=True):
    """Which pod this process is, from the downward API."""

    namespace: str
    pod: str
    release: str


def parse(raw: bytes) -> Settings:
    """Parse the settings file. Raises SettingsError that names the key and what was expected."""
    try:
        return msgspec.json.decode(raw, type=Settings)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings: {error}.", remedy="Correct `config` in the chart's values.") from error


def load(path: str | None = None) -> Settings:
    """Read the settings named by `path`, else by SAMPLY_OPERATOR_SETTINGS, else the defaults."""
    name = path or os.environ.get("SAMPLY_OPERATOR_SETTINGS")
    if not name:
        return Settings()
    try:
        return parse(Path(name).read_bytes())
    except OSError as error:
        raise SettingsError(f"settings file {name}: {error.strerror}.") from error


def load_identity() -> Identity:
    """Namespace, pod and release of this process; outside a pod, what a developer's machine would say."""
    env = os.environ
    return Identity(
        namespace=env.get("POD_NAMESPACE", "default"),
        pod=env.get("POD_NAME", env.get("HOSTNAME", "local")),
        release=env.get("RELEASE_NAME", "samply-operator"),
    )


def namespaces_of(settings: Settings, identity: Identity) -> tuple[str, ...]:
    """The namespaces to watch; empty means all."""
    if settings.targets.cluster_wide:
        return ()
    return settings.targets.namespaces or (identity.namespace,)
