"""The settings of an installation: one frozen tree, read once, in the order of the chart's `config` value.

Only this module reads the environment. SAMPLY_OPERATOR_SETTINGS names the file (JSON); without it the defaults apply.
It contains no secrets and may be printed.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Annotated, Literal, get_args

import msgspec

from samply_operator.errors import SettingsError

Mode = Literal["Auto", "InPlace", "BringOwn", "Ephemeral", "Pipeline"]
MODES: tuple[Mode, ...] = get_args(Mode)
Architecture = Literal["amd64", "arm64"]
"""As the label kubernetes.io/arch has it."""
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]
ChildBytes = Annotated[int, msgspec.Meta(ge=160 * 1024 * 1024)]
"""Address space of a process that reads profiles; Python and numpy use most of the minimum."""

DURATION_SECS = 30
MAX_DURATION_SECS = 3600
"""Maximum duration of a recording: the range of Feldera's web console."""
MAX_RATE_HZ = 10_000
MAX_LINK_SECS = 7 * 24 * 3600
"""Maximum of the configurable validity of links."""


class Base(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Every group: unknown keys are errors, so that typos are detected."""


class Targets(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Selection of the pipelines' pods."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch. Empty: only the operator's own, unless clusterWide."""
    cluster_wide: bool = False
    """Watch all namespaces (needs the ClusterRole of the chart)."""
    namespace_selector: str = ""
    """Label selector of namespaces, such as feldera.com/pipelines=yes: only matching namespaces are watched, as soon as
    they are created. Needs clusterWide. Empty: all namespaces."""
    pod_selector: str | tuple[str, ...] = ("feldera.com/part-of=pipeline", "app.kubernetes.io/name=feldera-pipeline")
    """Label selectors of pipeline pods (and of StatefulSets' pod templates): one, or several of which one matches."""
    name_label: str = ""
    """An additional label (or annotation) with the pipeline's name. Empty: none."""
    name_pattern: str = r"^(?:pipeline-)?(?P<pipeline>.+)$"
    """Regular expression with a group `pipeline` for the StatefulSet's name, if no label names the pipeline."""
    container: str = ""
    """The container to profile. Empty: the one named pipeline, else kubectl's default-container annotation, else the
    first that is not a known sidecar."""

    def __post_init__(self) -> None:
        if self.namespace_selector and not self.cluster_wide:
            raise ValueError("targets.namespaceSelector needs clusterWide: true")
        if not self.selectors:
            raise ValueError("targets.podSelector: at least one is required; an empty string selects every pod")

    @property
    def selectors(self) -> tuple[str, ...]:
        return (self.pod_selector,) if isinstance(self.pod_selector, str) else self.pod_selector


class Feldera(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Feldera's own API server: names of pipelines and permissions to see them."""

    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^/?#\s]+(/[^?#\s]*)?)?$")] = ""
    """Such as http://feldera-api-server.feldera:8080. Empty: Feldera is not used."""
    secret_name: str = ""
    """Secret in the release's namespace; each entry is a Feldera API key with the role read, one for each tenant whose
    pipelines should have their names. Empty: no key is sent, for a Feldera without authentication."""
    prefer_own_samply: bool = False
    """Mode Auto first tries mode Pipeline, in which the pipeline runs samply on itself: its file contains the SQL
    operators."""


class Prometheus(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The Prometheus of SamplyTriggers with when.metric.prometheus, or what has its HTTP API."""

    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^/?#@\s]+(/[^?#\s]*)?)?$")] = ""
    """Such as http://prometheus.monitoring:9090, without /api/v1 and without a password. Empty: none."""
    secret_name: str = ""
    """Secret in the release's namespace whose entry `token` is sent as a bearer. Empty: none is sent."""


class Recording(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Defaults and limits of recordings."""

    duration_secs: Annotated[int, msgspec.Meta(ge=1, le=MAX_DURATION_SECS)] = DURATION_SECS
    rate_hz: Annotated[int, msgspec.Meta(ge=1, le=MAX_RATE_HZ)] = 1000
    mode: Mode = "Auto"
    min_coverage: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.75
    """Share of the expected samples below which a recording fails (LowCoverage); its file is kept."""
    enabled: bool = True
    """False: every request is answered with ProfilingNotEnabled; stored profiles are still served."""
    max_concurrent: Positive = 8
    """Maximum number of concurrent recordings; others are queued, oldest first."""
    max_per_node: Positive = 4
    """The same on one node: samply locks memory there for each CPU and thread, and uses CPU when it finishes."""
    max_triggered: Positive = 4
    """The same of SamplyTriggers, all together; the others start first."""
    attach_deadline_secs: Seconds = 30
    """Maximum time from the start of samply until it reports that it records."""
    finish_deadline_secs: Seconds = 300
    """Maximum time from the SIGINT until samply has written its file."""
    copy_deadline_secs: Seconds = 900
    """Maximum time to copy a finished profile out of the pod."""
    unreachable_secs: Seconds = 600
    """How long a recording is retried while its pod or the API server is unavailable."""
    remote_ttl_secs: Seconds = 3600
    """How long a file that could not be copied stays in the pod; in mode Ephemeral also while the operator is down."""
    finish_memory_bytes: ChildBytes = 768 * 1024 * 1024
    """Memory of the process that reads a profile and adds names; less than the container's limit."""
    keep_raw: bool = False
    """Keep samply's own files, profile and symbols, with the published profile: more than twice the space."""
    max_attachment_bytes: Positive = 8 * 1024 * 1024
    """Maximum size of one attachment of a profile, compressed."""
    max_attachments_bytes: Positive = 16 * 1024 * 1024
    """The same of all attachments of a profile."""
    min_free_bytes: Positive = 64 * 1024 * 1024
    """Minimum free space on the volume, and in the pod's folder, to start a recording."""


class Ephemeral(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """samply in an ephemeral container in the pipeline's pod: needs no preparation of the pod."""

    enabled: bool = True
    namespaces: tuple[str, ...] = ()
    """Namespaces in which it may be used. Empty: all target namespaces."""
    image: str = "samply-operator-samply:0.1.0"
    """The image of images/samply."""
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    architectures: tuple[Architecture, ...] = ("amd64",)
    """Of the nodes that the image is built for: with both, it must be one image for both (a manifest list)."""
    max_per_pod: Positive = 20
    """Maximum number in a pod's lifetime: ephemeral containers cannot be removed from a pod."""
    start_deadline_secs: Seconds = 60
    """Maximum time until it runs, including the pull of its image."""


class BringOwn(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The project's samply, copied into the pipeline's container for the recording."""

    enabled: bool = False
    """Off by default: a new program in a production container may trigger security alerts."""


class Thinning(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Of what ended longer ago than `after_secs`, one in each `every_secs` is kept."""

    after_secs: Seconds
    every_secs: Annotated[float, msgspec.Meta(ge=1)]


class Retention(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Retention. The newest good profile of each ordinal, and pinned ones, are always kept."""

    max_per_ordinal: Positive = 20
    """Good profiles of one ordinal; those of each SamplyTrigger with a schedule, and all others, count separately.
    Pinned ones do not count."""
    max_failures_per_ordinal: Positive = 5
    """Failures of one ordinal."""
    max_pipeline_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Bytes of one pipeline's profiles, all ordinals together. 0: no limit."""
    max_total: Positive = 5000
    """Total of good profiles and failures; pinned ones do not count."""
    max_volume_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 80
    """Share of the volume (space of profiles plus free space) that profiles may use."""
    max_age_secs: Seconds = 30 * 24 * 3600
    """Age since their end."""
    thinning: tuple[Thinning, ...] = ()
    """Of each schedule's good profiles of an ordinal; the last step that applies to an age counts. Empty: none."""
    absence_grace_secs: Seconds = 300
    """How long an object must be absent from complete lists before its file is deleted, if its deletion was not
    observed."""
    object_ttl_secs: Seconds = 7 * 24 * 3600
    """Time after which SamplyProfile objects without a stored profile are deleted, from their end or the profile's
    removal."""


BUCKET_URL = r"^((s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]{1,62}(/[A-Za-z0-9!_.*'()-]+)*/?)?$"
CLUSTER = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"


class Bucket(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Object storage. Credentials are files in the pod, never settings."""

    url: Annotated[str, msgspec.Meta(pattern=BUCKET_URL)] = ""
    """s3://NAME/PREFIX, gs://NAME/PREFIX or az://CONTAINER/PREFIX."""
    cluster: Annotated[str, msgspec.Meta(pattern=CLUSTER)] = "default"
    """This cluster's folder below the prefix: no two installations may share one."""
    read_clusters: tuple[Annotated[str, msgspec.Meta(pattern=CLUSTER)], ...] = ()
    """Folders of other clusters whose profiles are served here too, in namespaces called CLUSTER/NAMESPACE."""
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^?#\s]+)?$")] = ""
    """Endpoint of an S3-compatible provider. Empty: the provider's default."""
    region: str = ""
    """Empty: us-east-1."""
    path_style: bool = True
    """The bucket's name is in the path; false: in the host name, with which the endpoint then starts."""
    kms_key_id: str = ""
    """Key for S3 encryption (SSE-KMS). Empty: the bucket's default."""
    role_arn: str = ""
    """AWS role for which the pod's own token is exchanged. Empty: no exchange."""
    options: dict[str, str] = {}
    """Additional options of the connection, with obstore's names (endpoint_url_sts, checksum_algorithm, …)."""

    def __post_init__(self) -> None:
        if self.cluster in self.read_clusters:
            raise ValueError("storage.bucket: readClusters must not contain cluster, whose profiles are always served")


class Storage(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Storage of finished profiles: the pod's volume, or a bucket. The volume is then a spool."""

    kind: Literal["Volume", "Bucket"] = "Volume"
    bucket: Bucket = Bucket()
    spool_bytes: Positive = 4 * 1024 * 1024 * 1024
    """With a bucket: maximum size of the spool on the pod's volume."""
    read_back: bool = True
    """Read back each uploaded file and compare its SHA-256 before the local copy is deleted."""
    cache_bytes: Annotated[int, msgspec.Meta(ge=0)] = 1024 * 1024 * 1024
    """Disk cache of the api container for files of the bucket. 0: no cache."""
    redirect: bool = False
    """Redirect callers to the bucket for complete files (307 to a signed URL) instead of streaming them through."""
    redirect_endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^?#\s]+)?$")] = ""
    """Endpoint of the provider for callers. Empty: bucket.endpoint."""
    redirect_secs: Annotated[int, msgspec.Meta(ge=10, le=MAX_LINK_SECS)] = 300
    """Validity of such a URL."""

    def __post_init__(self) -> None:
        if self.kind == "Bucket" and not self.bucket.url:
            raise ValueError("storage.bucket needs a url, such as s3://profiles")


Verb = Literal["get", "create", "delete"]
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
NAMESPACE = r"^(\*|([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?/)?[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$"
"""Of this cluster, or CLUSTER/NAMESPACE for profiles of another one (storage.bucket.readClusters)."""


class KubernetesWay(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Tokens of the cluster, reviewed by Kubernetes, with the RBAC permissions for samplyprofiles."""

    enabled: bool = True
    audiences: tuple[str, ...] = ("samply-operator",)
    """A token must have one of these audiences."""


class OidcGrant(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Permissions of a subject or a group; exactly one of both is set."""

    verbs: tuple[Verb, ...]
    namespaces: tuple[Annotated[str, msgspec.Meta(pattern=NAMESPACE)], ...]
    """ "*" means all."""
    subject: str = ""
    group: str = ""

    def __post_init__(self) -> None:
        if bool(self.subject) == bool(self.group):
            raise ValueError("a grant of oidc must have either a subject or a group")
        if not self.verbs or not self.namespaces:
            raise ValueError("a grant of oidc must have verbs and namespaces")


class Oidc(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """JWTs of an identity provider."""

    enabled: bool = False
    issuer: str = ""
    """Exact value of `iss`."""
    audience: str = ""
    """Value that `aud` must contain."""
    jwks_url: str = ""
    """URL of its public keys. Empty: from its /.well-known/openid-configuration."""
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    """Asymmetric ones only."""
    subject_claim: str = "sub"
    groups_claim: str = "groups"
    token_header: str = ""
    """Header with the user's JWT from an authenticating proxy, in addition to `Authorization`. Empty: none."""
    grants: tuple[OidcGrant, ...] = ()

    def __post_init__(self) -> None:
        if not self.enabled:
            return
        if not (self.issuer and self.audience and self.algorithms and self.subject_claim):
            raise ValueError("oidc needs issuer, audience, algorithms and subjectClaim")
        for url in filter(None, (self.issuer, self.jwks_url)):
            if not url.startswith(("https://", "http://")):
                raise ValueError(f"oidc: {url} is not a URL")
        if self.token_header and not re.fullmatch(r"[A-Za-z0-9-]{1,100}", self.token_header):
            raise ValueError("oidc: tokenHeader must be the name of a header, such as X-Forwarded-Access-Token")


class ApiKeys(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Fixed keys, for callers without another identity."""

    enabled: bool = False
    secret_name: str = "samply-operator-api-keys"  # noqa: S105 - the name of one
    """Secret in the release's namespace with one entry for each key (printed by `samply-operator key new`)."""


class FelderaWay(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Keys and tokens of Feldera: callers who can see a pipeline there may read its profiles here. Needs
    feldera.url."""

    enabled: bool = False
    may_start: bool = True
    """Also allow starting and stopping recordings, like Feldera's role read."""
    issuers: tuple[str, ...] = ()
    """Exact values of `iss` in Feldera's JWTs. Empty: only its API keys (`apikey:…`)."""


class Auth(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Authentication over HTTP: at least one method is enabled."""

    kubernetes: KubernetesWay = KubernetesWay()
    oidc: Oidc = Oidc()
    api_keys: ApiKeys = ApiKeys()
    feldera: FelderaWay = FelderaWay()
    unsafe_let_anyone_in_without_authentication: bool = False
    """True: no authentication; anyone can read, start and delete everything."""

    def __post_init__(self) -> None:
        ways = (self.kubernetes.enabled, self.oidc.enabled, self.api_keys.enabled, self.feldera.enabled)
        if not (any(ways) or self.unsafe_let_anyone_in_without_authentication):
            raise ValueError("auth: no method is enabled; enable kubernetes, oidc, apiKeys or feldera")
        if self.kubernetes.enabled and not any(self.kubernetes.audiences):
            raise ValueError("auth.kubernetes needs an audience")
        if self.api_keys.enabled and not self.api_keys.secret_name:
            raise ValueError("auth.apiKeys needs a secretName")
        if self.oidc.enabled and self.oidc.issuer in self.feldera.issuers:
            raise ValueError("auth: an issuer can belong to oidc or to feldera, not to both")


class Links(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Expiring links to one stored profile that need no credentials."""

    secret_name: str = ""
    """Secret in the release's namespace with the entries `current` and `previous` (at least 32 random bytes each): the
    keys that sign links. Empty: no links."""
    max_secs: Annotated[int, msgspec.Meta(ge=60, le=MAX_LINK_SECS)] = 24 * 3600
    """Maximum validity of a link."""
    public_url: Annotated[str, msgspec.Meta(pattern=r"^(https?://[^/?#\s]+(/[^?#\s]*)?)?$")] = ""
    """URL of the service for browsers, such as https://profiles.example.com, without the base path. Empty: the origin
    of the request for a link."""


AllowedOrigin = Annotated[str, msgspec.Meta(pattern=r"^(\*|https?://[^/?#\s]+)$")]


class Cors(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Pages of other origins that may read responses and send tokens."""

    allow_origins: tuple[AllowedOrigin, ...] = ()
    """Origins such as https://console.example.com; "*": all."""


class SignIn(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Sign-in at the identity provider of auth.oidc: authorization code with PKCE, for a public client."""

    client_id: str = ""
    """Client id of the console at the provider. Empty: users paste a token instead."""
    scopes: tuple[str, ...] = ("openid", "profile")
    token: Literal["idToken", "accessToken"] = "idToken"  # noqa: S105 - the kind of one
    """Which of the provider's tokens is sent to the API: its `aud` must contain auth.oidc.audience."""


class Console(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The web console under /console. It shows the API's responses for the signed-in user."""

    enabled: bool = True
    sign_in: SignIn = SignIn()
    firefox_profiler_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^?#\s]+$")] = "https://profiler.firefox.com"
    """Target of links to Firefox Profiler: its public site, or your own installation."""


class Api(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The HTTP service."""

    host: str = ""
    """Address to listen on. Empty: all of the pod's, IPv4 and IPv6."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 8080
    metrics_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 9090
    """Port for Prometheus: no authentication, no names."""
    base_path: Annotated[str, msgspec.Meta(pattern=r"^(/[A-Za-z0-9._~-]+)*$", max_length=200)] = ""
    """Such as /profiles: all paths are also served below it, and links use it. For a host shared with others."""
    start_wait_secs: Seconds = 2
    """How long a POST waits until the recording runs or is refused before it answers 202."""
    requests_per_sec: Annotated[float, msgspec.Meta(ge=0)] = 100
    """Sustained request rate of one caller (a credential, else an address); more get 429. 0: no limit."""
    request_burst: Positive = 400
    """Burst of requests of one caller."""
    max_connections: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Maximum of open connections; others are closed at once. 0: 2000, or what the limit of open files allows."""
    max_connections_per_address: Annotated[int, msgspec.Meta(ge=1)] = 1000
    """The same for one address. A proxy counts as one address."""
    shutdown_delay_secs: Annotated[float, msgspec.Meta(ge=0)] = 2
    """At pod shutdown: how long requests are still served after the pod became unready."""
    drain_secs: Annotated[float, msgspec.Meta(ge=0)] = 24
    """After that: how long running downloads may continue. The sum must be below the pod's grace period."""
    view_memory_bytes: ChildBytes = 768 * 1024 * 1024
    """Memory of the process that converts, summarises or compares profiles; well below the container's limit."""
    view_spool_bytes: Annotated[int, msgspec.Meta(ge=16 * 1024 * 1024)] = 256 * 1024 * 1024
    """Space for converted responses not yet read by clients; one response may use a quarter of it."""
    links: Links = Links()
    cors: Cors = Cors()
    console: Console = Console()


class Paths(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Paths in the pod."""

    data: str = "/data"
    storage: str = "/etc/samply-operator-storage"
    """Credentials and token for the bucket."""
    authorities: str = "/etc/samply-operator-ca/ca.crt"
    """Private certificate authorities, trusted in addition to the public ones, if configured."""
    samply: str = "/usr/local/libexec/samply"
    """The project's samply, for mode BringOwn; absent in images built without it."""
    cache: str = "/tmp/cache"  # noqa: S108 - an emptyDir of the pod's own
    socket: str = "/run/samply-operator/control.sock"
    heartbeat: str = "/tmp/heartbeat"  # noqa: S108 - an emptyDir of the pod's own
    feldera_keys: str = "/etc/samply-operator-feldera-keys"
    """Where the Secret of feldera.secretName is mounted, in the container operator."""
    prometheus: str = "/etc/samply-operator-prometheus"
    """The same of prometheus.secretName."""


class Settings(Base, frozen=True, rename="camel", forbid_unknown_fields=True):
    targets: Targets = Targets()
    feldera: Feldera = Feldera()
    prometheus: Prometheus = Prometheus()
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
            raise ValueError("api.console.signIn.clientId needs auth.oidc.enabled, whose provider is used to sign in")
        if self.auth.feldera.enabled and not self.feldera.url:
            raise ValueError("auth.feldera needs feldera.url")
        if self.feldera.prefer_own_samply and not self.feldera.url:
            raise ValueError("feldera.preferOwnSamply needs feldera.url")


class _Account(msgspec.Struct, frozen=True):
    uid: str


class _Kubernetes(msgspec.Struct, frozen=True):
    serviceaccount: _Account


class _Claims(msgspec.Struct, frozen=True):
    kubernetes: _Kubernetes = msgspec.field(name="kubernetes.io")


TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


class Identity(msgspec.Struct, frozen=True):
    """The pod of this process, from the downward API."""

    namespace: str
    pod: str
    release: str
    ip: str = ""
    """The pod's address; empty: other pods needn't reach it."""
    account_uid: str = ""
    """uid of the pod's ServiceAccount, which no other cluster has; empty: unknown."""

    @property
    def installation(self) -> str:
        """Differs between any two installations, also of the same name in two clusters."""
        return "/".join(filter(None, (self.namespace, self.release, self.account_uid)))


def parse(raw: bytes) -> Settings:
    """Parse the settings file. Raises SettingsError with the key and the expected value."""
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
        raise SettingsError(
            f"settings file {name}: {error.strerror}.", remedy="Check --settings and $SAMPLY_OPERATOR_SETTINGS."
        ) from error


def load_identity() -> Identity:
    """Namespace, pod and release of this process; outside a pod, defaults for a developer's machine."""
    env = os.environ
    return Identity(
        namespace=env.get("POD_NAMESPACE", "default"),
        pod=env.get("POD_NAME", env.get("HOSTNAME", "local")),
        release=env.get("RELEASE_NAME", "samply-operator"),
        ip=env.get("POD_IP", ""),
        account_uid=_read_account_uid(TOKEN),
    )


def _read_account_uid(path: Path) -> str:
    """From a token of Kubernetes, a JWT; empty if there is none, or another kind."""
    try:
        payload = path.read_text(encoding="ascii").split(".")[1]
        claims = msgspec.json.decode(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)), type=_Claims)
    except (OSError, ValueError, IndexError, msgspec.MsgspecError):
        return ""
    return claims.kubernetes.serviceaccount.uid


def namespaces_of(settings: Settings, identity: Identity) -> tuple[str, ...]:
    """The namespaces to watch; empty means all."""
    if settings.targets.cluster_wide:
        return ()
    return settings.targets.namespaces or (identity.namespace,)
