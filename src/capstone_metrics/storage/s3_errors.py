"""Messages for the errors of an S3 store, with the next step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError


def error_code(error: ClientError) -> str:
    """Return the error code of the store's response."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: ClientError | BotoCoreError) -> str:
    """Return the cause and the next step by error code or type, without the store's own text."""
    code = error_code(error) if isinstance(error, ClientError) else type(error).__name__
    if code == "SSLError":
        code = next((kind for cause, kind in _SSL_CAUSES.items() if cause in str(error)), code)
    message = next((text for codes, text in _MESSAGES.items() if code in codes.split()), None)
    return message or f"the store refused ({code}); check it and run again."


_SSL_CAUSES = {
    "certificate has expired": "CertificateExpired",
    "certificate is not yet valid": "CertificateExpired",
    "WRONG_VERSION_NUMBER": "NoTLS",
    "RECORD_LAYER_FAILURE": "NoTLS",
    "UNEXPECTED_EOF": "ConnectionClosedError",
}
"""The code for what OpenSSL says; any other error is of the certificate's authority or host."""

_MESSAGES = {
    "NoSuchKey 404": "there is no such object; run the pipeline that creates it first.",
    "NoSuchBucket": "there is no such bucket; create it, or correct 'lake' in globals.yml.",
    "AccessDenied 403 AllAccessDisabled": (
        "the store denies access to these credentials; grant them s3:ListBucket on the bucket, and "
        "s3:GetObject, s3:PutObject and s3:DeleteObject on what is in it."
    ),
    "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken": (
        "the store does not know these credentials; correct the access key, the secret or the "
        "profile."
    ),
    "ExpiredToken ExpiredTokenException RequestExpired TokenRefreshRequired": (
        "the credentials have expired; sign in again and run again."
    ),
    "SSOTokenLoadError UnauthorizedSSOTokenError TokenRetrievalError": (
        "the sign-in has expired; run 'aws sso login' and run again."
    ),
    "RequestTimeTooSkewed": "the clock of this machine is wrong; set it and run again.",
    "PermanentRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException 301 307": (
        "the bucket is in another region; set AWS_REGION, or 'region' of 'lake' in globals.yml."
    ),
    "NoRegionError": "no region is set; set AWS_REGION, or 'region' of 'lake' in globals.yml.",
    "InvalidRegionError": (
        "this is not a valid region; correct AWS_REGION, or 'region' of 'lake' in globals.yml."
    ),
    "NoCredentialsError PartialCredentialsError CredentialRetrievalError": (
        "there are no credentials; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY, or give this machine a role."
    ),
    "ProfileNotFound": "the profile in AWS_PROFILE is not known; correct it.",
    "InvalidBucketName ParamValidationError": (
        "this is not a valid bucket name; correct 'lake' in globals.yml."
    ),
    "SSLError": (
        "the certificate of the store is not of a known authority, or not for this host; name the "
        "authority's certificates in AWS_CA_BUNDLE, or correct the endpoint."
    ),
    "CertificateExpired": (
        "the certificate of the store is not valid now; renew it, or set the clock of this machine."
    ),
    "NoTLS": "the store does not speak TLS; correct the endpoint, to http:// or to another port.",
    "ProxyConnectionError": (
        "the proxy does not answer; correct HTTPS_PROXY, or name the store's host in NO_PROXY."
    ),
    "NotImplemented 501 XAmzContentSHA256Mismatch": (
        "the store does not know what it was asked for, which may be a checksum; set "
        "AWS_REQUEST_CHECKSUM_CALCULATION=when_required, or use another store."
    ),
    "EndpointConnectionError ConnectTimeoutError ConnectionClosedError ReadTimeoutError "
    "ResponseStreamingError IncompleteReadError HTTPClientError": (
        "the store does not answer; check the network and the endpoint, and run again."
    ),
    "SlowDown ServiceUnavailable 503 500 502 504 InternalError RequestTimeout Throttling": (
        "the store is overloaded or out of order; run again later."
    ),
}
