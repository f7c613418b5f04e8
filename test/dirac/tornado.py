"""What DIRAC's HTTPS client does on the wire, with the library that it uses.

It follows TornadoBaseClient step by step: one requests.Session for each object, a
form of urlencoded fields, the mapping of statuses to results, and files.
"""

import errno
import os

import requests

import jencode


def S_OK(value=None):
    return {"OK": True, "Value": value}


def S_ERROR(number, message=""):
    if isinstance(number, str):
        return {"OK": False, "Errno": 0, "Message": number}
    return {"OK": False, "Errno": number, "Message": f"{os.strerror(number)} ( {number} : {message})"}


class TornadoClient:
    def __init__(self, url, ca, cert=None, timeout=600, VO="vo", setup="TestSetup", useCertificates=False,
                 extraCredentials=None, delegatedDN=None, delegatedGroup=None, accessToken=None):
        self.url, self.timeout, self.VO, self.setup = url, timeout, VO, setup
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = ca
        self.token = accessToken
        if cert and not accessToken:
            self.session.cert = cert  # one file with chain and key, or a pair
        self.extra = extraCredentials
        if useCertificates:
            self.extra = "hosts"
        if delegatedDN:
            self.extra = (delegatedDN, delegatedGroup)
        self.kwargs = {"timeout": timeout, "useAccessToken": bool(accessToken)}

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args: self.executeRPC(name, *args)

    def executeRPC(self, method, *args):
        ret = self._request(method=method, args=jencode.encode(list(args)))
        ret["rpcStub"] = ((self.url, self.kwargs), method, list(args))
        return ret

    def executeRPCStub(self, stub):
        (_, _), method, args = stub
        return self.executeRPC(method, *args)

    def receiveFile(self, destination, *args):
        return self._request(outputFile=destination, method="streamToClient", args=jencode.encode(list(args)))

    def sendFile(self, filename, fileID):
        with open(filename, "rb") as f:
            content = f.read()
        return self.executeRPC("streamFromClient", fileID, "", len(content), content)

    def _request(self, outputFile=None, **fields):
        if self.extra:
            fields["extraCredentials"] = jencode.encode(self.extra)
        fields["clientVO"], fields["clientSetup"] = self.VO, self.setup
        headers = {}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        rawContent = outputFile is not None
        text = None
        if rawContent:
            fields["rawContent"] = True
        try:
            with self.session.post(self.url, data=fields, timeout=self.timeout, headers=headers, stream=rawContent) as r:
                text = r.text  # before anything else, also of a file
                if r.status_code == requests.codes.not_implemented:
                    return S_ERROR(errno.ENOSYS, f"{fields['method']} is not implemented")
                if r.status_code in (requests.codes.forbidden, requests.codes.unauthorized):
                    return S_ERROR(errno.EACCES, f"No access to {self.url}")
                r.raise_for_status()
                if not rawContent:
                    return jencode.decode(text)
                with open(outputFile, "wb") as f:
                    for chunk in r.iter_content(4096):
                        f.write(chunk)
                return S_OK()
        except requests.HTTPError as e:
            return S_ERROR(f"{e}: {text}")
        except requests.exceptions.RequestException as e:
            return S_ERROR(f"{e}: None")
        except ValueError as e:
            return S_ERROR(f"{e}: {text}")
